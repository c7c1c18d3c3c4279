// SPDX-License-Identifier: GPL-2.0-only
/*
 * Carries memory to a TCP server that echoes it.  The kernel copies it, so the
 * memory that the network card's DMA sees is the kernel's own.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest.h"

#define INTERFACE "eth0"
#define OWN_ADDRESS "10.0.2.15"
#define NETMASK "255.255.255.0"
#define PATIENCE_MS 120000

static int set_address(int fd, unsigned long what, const char *text)
{
	struct ifreq request = { .ifr_name = INTERFACE };
	struct sockaddr_in *address = (void *)&request.ifr_addr;

	address->sin_family = AF_INET;
	inet_pton(AF_INET, text, &address->sin_addr);
	return ioctl(fd, what, &request);
}

static int bring_up(int fd)
{
	struct ifreq request = { .ifr_name = INTERFACE, .ifr_flags = IFF_UP };

	if (set_address(fd, SIOCSIFADDR, OWN_ADDRESS) ||
	    set_address(fd, SIOCSIFNETMASK, NETMASK))
		return -1;
	return ioctl(fd, SIOCSIFFLAGS, &request);
}

static int net_open(char *where)
{
	struct sockaddr_in server = { .sin_family = AF_INET };
	const char *host = strsep(&where, ":");
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!where || inet_pton(AF_INET, host, &server.sin_addr) != 1) {
		errno = EINVAL;
		return -1;
	}
	server.sin_port = htons(atoi(where));
	if (fd < 0 || bring_up(fd) ||
	    connect(fd, (void *)&server, sizeof(server)))
		return -1;
	return fd;
}

/* Adds what a call moved; false when it failed, or the peer has gone. */
static bool advance(size_t *done, ssize_t moved)
{
	if (!moved)
		errno = ECONNRESET;
	if (moved > 0)
		*done += moved;
	return moved > 0 || (moved < 0 && errno == EAGAIN);
}

static int net_carry(int fd, const void *out, void *in, size_t bytes)
{
	size_t sent = 0, got = 0;

	while (got < bytes) {
		struct pollfd poller = {
			.fd = fd,
			.events = POLLIN | (sent < bytes ? POLLOUT : 0),
		};
		int ready = poll(&poller, 1, PATIENCE_MS);

		if (ready <= 0) {
			errno = ready ? errno : ETIMEDOUT;
			return -1;
		}
		if (poller.revents & POLLOUT &&
		    !advance(&sent, send(fd, out + sent, bytes - sent,
					 MSG_DONTWAIT | MSG_NOSIGNAL)))
			return -1;
		if (poller.revents & ~POLLOUT &&
		    !advance(&got, recv(fd, in + got, bytes - got,
					MSG_DONTWAIT)))
			return -1;
	}
	return 0;
}

const struct carrier net_carrier = {
	.open = net_open,
	.carry = net_carry,
};
