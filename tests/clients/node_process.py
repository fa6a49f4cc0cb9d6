"""The process of Node that drives its SDKs (node/drive.mjs): one for all tests, a case at a time.

Environment: NODE_CLIENTS, the folder with the SDKs' `node_modules`.
"""

import json
import os
import pathlib
import shutil
import subprocess

SOURCES = pathlib.Path(__file__).parent / "node"


class Node:
    def __init__(self, directory):
        """Node finds packages beside the file that asks for them, so both are brought together in `directory`."""
        self.directory, self.process = directory, None
        for source in SOURCES.glob("*.mjs"):
            shutil.copy(source, directory)
        (directory / "node_modules").symlink_to(pathlib.Path(os.environ["NODE_CLIENTS"]) / "node_modules")

    def ask(self, **case):
        """The outcome of a case. What does not come to an end (a test's time is limited) takes the process with it."""
        try:
            process = self._running()
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BaseException:
            self.stop()
            raise
        if not line:
            self.stop()
            raise RuntimeError(f"node ended; it said:\n{(self.directory / 'stderr').read_text()[-3000:]}")
        return json.loads(line)

    def _running(self):
        if self.process is None:
            # An environment of its own: keys and addresses of whoever runs the tests are not for it.
            environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
            with (self.directory / "stderr").open("w") as stderr:
                self.process = subprocess.Popen(
                    ["node", self.directory / "drive.mjs"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    env=environment,
                )
        return self.process

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
