"""Clients that send a picture, wait for the answer, and send the next: in a process of their own."""

import asyncio
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.strict_json import to_json

BOUNDARY = b"allmlp-serving-load"


def pictures(side: int, count: int = 32) -> list[bytes]:
    """JPEG files that differ, with some structure for the decoder."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(count):
        rough = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        rough.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        found.append(file.getvalue())
    return found


def seconds_of(group: int) -> float:
    """Processor seconds that the processes of a session have had."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def request_of(content: bytes) -> bytes:
    """An HTTP request with one picture."""
    part = b'--%b\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    body = part % BOUNDARY + content + b"\r\n--%b--\r\n" % BOUNDARY
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=%b\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    return head % (BOUNDARY, len(body)) + body


@dataclass
class Load:
    """So many clients for so many seconds."""

    port: int
    contents: list[bytes]
    clients: int
    seconds: float

    def away(self) -> dict[str, float]:
        """In a process of its own: answers a second, failures, and seconds until the median and the 99th of 100 answers."""
        side = Image.open(io.BytesIO(self.contents[0])).width
        words = [str(word) for word in (self.port, side, self.clients, self.seconds)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, check=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found

    async def here(self) -> dict[str, float]:
        self.latencies: list[float] = []
        self.failures = self.within = 0
        self.begins = time.perf_counter() + 0.5  # warmed up until then
        self.ends = self.begins + self.seconds
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))
        ordered = sorted(self.latencies) or [float("nan")]
        p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        return {"rate": self.within / self.seconds, "answers": self.all, "failures": self.failures, "p50": p50, "p99": p99}

    all = 0
    """Answers, with those before it was counted."""

    async def _client(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        requests = [request_of(content) for content in self.contents]
        while (began := time.perf_counter()) < self.ends:
            writer.write(requests[number % len(requests)])
            number += 1
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            now = time.perf_counter()
            self.all += 1
            self.failures += not head.startswith(b"HTTP/1.1 200")
            self.within += self.begins <= now <= self.ends
            if began >= self.begins:
                self.latencies.append(now - began)
        writer.close()


if __name__ == "__main__":
    port, side, clients, seconds = (float(word) for word in sys.argv[1:])
    print(to_json(asyncio.run(Load(int(port), pictures(int(side)), int(clients), seconds).here())))
