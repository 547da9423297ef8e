"""A real Chromium without a window, led through its debugging pipe."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page. `log` has what the console said, `asked` every address that was asked for."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM
        reads, self.writing = os.pipe()
        self.reading, writes = os.pipe()
        flags = (
            "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run --remote-debugging-pipe"
        )
        command = [
            "bash",
            "-c",
            f'exec "$@" 3<&{reads} 4>&{writes}',
            "bash",
            CHROMIUM,
            *flags.split(),
            f"--user-data-dir={profile}",
        ]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([*command, "about:blank"], pass_fds=(reads, writes), stdout=quiet, stderr=quiet)
        os.close(reads)
        os.close(writes)
        self.left, self.number, self.session = b"", 0, None
        self.log: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self.number:
                if "error" in said:
                    raise RuntimeError(said["error"])
                return said["result"]

    def _next(self) -> Any:
        while b"\0" not in self.left:
            part = os.read(self.reading, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.left += part
        one, _, self.left = self.left.partition(b"\0")
        said = json.loads(one)
        match said.get("method"):
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                self.log.append(json.dumps(said["params"]))
            case "Network.requestWillBeSent":
                self.asked.append(said["params"]["request"]["url"])
        return said

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 600) -> Any:
        """Until the expression is true."""
        ends = time.monotonic() + seconds
        while not (found := self.run(script)):
            if time.monotonic() > ends:
                raise TimeoutError(f"{script}; the page says {self.run('document.body.innerText')!r}, the console {self.log}")
            time.sleep(0.05)
        return found

    def open(self, url: str, *, width: int = 1000, height: int = 900, dark: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def choose(self, file: Path) -> None:
        """A file in the page's <input type=file>."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def shoot(self, path: Path) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.reading)
        os.close(self.writing)
