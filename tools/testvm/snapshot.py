# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a machine with all of its memory, on a disk of its own."""


class SnapshotError(Exception):
    """A job of QEMU's failed."""


class Snapshot:
    """Mixed into VM."""

    NODE = "snapshots"

    def _run_job(self, command, **arguments):
        """Starts a job and returns once it is over."""
        self.qmp(command, job_id=command, **arguments)
        job = {}

        def concluded():
            job.update({entry["id"]: entry
                        for entry in self.qmp("query-jobs")}[command])
            return job["status"] == "concluded"

        self.wait_for(f"the job {command} to end", concluded)
        self.qmp("job-dismiss", id=command)
        if "error" in job:
            raise SnapshotError(f"{command}: {job['error']}")

    def add_snapshot_disk(self):
        """For save_snapshot(); the guest does not see it."""
        path = f"{self.directory}/snapshots"
        self._run_job("blockdev-create", options={
            "driver": "file", "filename": path, "size": 0})
        self.qmp("blockdev-add", driver="file", filename=path, node_name="file")
        self._run_job("blockdev-create", options={
            "driver": "qcow2", "file": "file", "size": 1 << 20})
        self.qmp("blockdev-add", driver="qcow2", file="file",
                 node_name=self.NODE)

    def save_snapshot(self, name):
        self._run_job("snapshot-save", tag=name, vmstate=self.NODE,
                      devices=[self.NODE])

    def load_snapshot(self, name):
        """The guest goes on as it was, if it runs."""
        self._run_job("snapshot-load", tag=name, vmstate=self.NODE,
                      devices=[self.NODE])
