# SPDX-License-Identifier: GPL-2.0-or-later
"""Moving a guest to another machine, or into a file and out of it again."""

MIB = 1 << 20


class MigrationError(Exception):
    """A migration ended otherwise than it should."""


class Migration:
    """
    Mixed into VM.  A machine with incoming=True waits for a guest that another
    one sends it.  Capabilities and parameters have QEMU's names; a capability
    is switched on at both ends.
    """

    def set_capabilities(self, *names):
        self.qmp("migrate-set-capabilities", capabilities=[
            {"capability": name, "state": True} for name in names])

    def set_bandwidth(self, size):
        """Bytes per second; 0 is as fast as it goes."""
        self.qmp("migrate-set-parameters", max_bandwidth=size)

    def migration_status(self):
        """QEMU's word for it, and the error if there was one."""
        info = self.qmp("query-migrate")
        return info.get("status"), info.get("error-desc")

    def wait_migration(self, *wanted):
        """Returns once the migration's status is one of these."""
        seen = []

        def reached():
            seen[:] = self.migration_status()
            return seen[0] in (*wanted, "completed", "failed", "cancelled")

        self.wait_for(f"the migration to be {wanted}", reached)
        if seen[0] not in wanted:
            raise MigrationError(f"migration {seen[0]}: {seen[1]}")

    def start_migration(self, target, *capabilities, bandwidth=0):
        """Begins to send the guest; returns once its memory is on its way."""
        uri = f"unix:{target.directory}/migration"
        for machine in (self, target):
            machine.set_capabilities(*capabilities)
        target.qmp("migrate-incoming", uri=uri)
        self.set_bandwidth(bandwidth)
        self.qmp("migrate", uri=uri)
        self.wait_migration("active", "completed")

    def finish_migration(self, target):
        """Returns once the guest runs in `target`, as fast as it goes."""
        self.pause()
        self.set_bandwidth(0)
        self.wait_migration("completed")
        self.hand_over(target)

    def pause(self):
        """
        Halts the guest.  QEMU's software emulation, of stock QEMU as well,
        loses writes of a guest that is busy while QEMU looks for changed pages:
        whoever wants to find all memory on the target halts the guest first.
        """
        self.qmp("stop")

    def hand_over(self, target):
        """From now on the guest answers, and runs, in `target`."""
        self.guest = None
        target.wait_for("the guest to arrive", lambda: target.qmp(
            "query-status")["status"] in ("paused", "running"))
        target.qmp("cont")

    def migrate(self, target, *capabilities):
        """Returns once the guest runs in `target`."""
        self.pause()
        self.start_migration(target, *capabilities)
        self.finish_migration(target)

    def start_postcopy(self, target):
        """Returns once the guest runs in `target`; most memory follows it."""
        self.pause()
        self.start_migration(target, "postcopy-ram", bandwidth=16 * MIB)
        self.qmp("migrate-start-postcopy")
        self.wait_migration("postcopy-active")
        self.hand_over(target)

    def migrate_postcopy(self, target):
        """As migrate(), but most memory follows the guest."""
        self.start_postcopy(target)
        self.wait_migration("completed")

    def cancel_migration(self):
        self.qmp("migrate_cancel")
        self.wait_migration("cancelled")

    def save(self, path, *capabilities):
        """Writes the guest to a file; a snapshot lets it go on meanwhile."""
        if "background-snapshot" not in capabilities:
            self.pause()
        self.set_capabilities(*capabilities)
        self.set_bandwidth(0)
        self.qmp("migrate", uri=f"file:{path}")
        self.wait_migration("completed")

    def restore(self, path, *capabilities):
        """Goes on with a guest from a file."""
        self.set_capabilities(*capabilities)
        self.qmp("migrate-incoming", uri=f"file:{path}")
        self.wait_for("the guest to arrive", lambda: self.qmp(
            "query-status")["status"] in ("paused", "running"))
        self.qmp("cont")

    def fails_to_restore(self, path):
        """Tries it; returns why it failed."""
        self.qmp("migrate-incoming", uri=f"file:{path}", exit_on_error=False)
        self.wait_for("the migration to end", lambda: self.migration_status()[0]
                      in ("failed", "completed"))
        status, why = self.migration_status()
        if status != "failed":
            raise MigrationError("the stream was taken")
        return f"{why}\n{self.stderr()}"
