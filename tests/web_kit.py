"""A person at a real Studio who has no browser: signs in, submits, and reads pages, lists and logs."""

from __future__ import annotations

import csv
import http.cookiejar
import io
import json
import re
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from tests.fixtures.processes import StudioProcess, wait_until

STD_LOG = "user_logs/std_log.txt"
#: What a browser sends when a person opens an address by hand; with it a sign-in link needs no button.
_OPENED_BY_HAND = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Site": "none",
}


@dataclass(frozen=True)
class Answer:
    """What came back, redirects not followed."""

    status: int
    text: str
    location: str
    took_s: float


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


class Visitor:
    """The owner, signed in by the link that Studio printed; several threads may share one."""

    def __init__(self, studio: StudioProcess) -> None:
        self.url = studio.url
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self._cookies), _NoRedirects
        )
        path = urllib.parse.urlsplit(studio.sign_in_link).path
        assert self._ask(path, headers=_OPENED_BY_HAND).status == 303
        assert self.get("/submit/").status == 200  # which brings the cookie that forms need

    def get(self, path: str, *, timeout_s: float = 60.0, **query: str) -> Answer:
        """A page, or a part of one."""
        asked = f"{path}?{urllib.parse.urlencode(query)}" if query else path
        return self._ask(asked, timeout_s=timeout_s)

    def post(self, path: str, *, timeout_s: float = 60.0, **fields: str) -> Answer:
        """A form."""
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": self._token, **fields}).encode()
        return self._ask(path, data=data, timeout_s=timeout_s)

    def upload_folder(self, files: dict[str, bytes]) -> Answer:
        """Choose a folder in the submit form; the content of its files by path."""
        fields = {
            "csrfmiddlewaretoken": self._token,
            "index": "0",
            "steps-0-source": "folder",
            "steps-0-paths": json.dumps(list(files)),
        }
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        parts = [f'{head}{name}"\r\n\r\n{text}\r\n'.encode() for name, text in fields.items()]
        for path, content in files.items():
            name = path.rpartition("/")[2]
            parts += [f'{head}steps-0-folder"; filename="{name}"\r\n\r\n'.encode(), content, b"\r\n"]
        data = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={boundary}"
        return self._ask("/submit/upload/", data=data, headers={"Content-Type": kind, "HX-Request": "true"})

    def submit(self, text: str, *, experiment: str = "faults") -> Answer:
        """Submit a pasted script to the default compute target."""
        fields = {
            "submission_key": secrets.token_hex(8),
            "experiment_kind": "new",
            "new_experiment": experiment,
            "target": "local",
            "steps-0-source": "paste",
            "steps-0-pasted": text,
            "steps-0-pasted_name": "train.py",
        }
        return self.post("/submit/", **fields)

    def runs(self, query: str = "") -> list[dict[str, str]]:
        """The rows of the list of runs that match, oldest first, as its export has them."""
        answer = self.get("/runs/", q=query, format="csv")
        assert answer.status == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text)))[::-1]

    def status_of(self, path: str) -> str:
        """The status of the run whose page is at this path."""
        found = re.search(r"/experiments/(.+)/runs/(\d+)/", path)
        assert found, path
        [row] = self.runs(f"experiment:{found[1]} number:{found[2]}")
        return row["status"]

    def ended(self, path: str, *, within_s: float = 90.0) -> str:
        """The terminal status of the run whose page is at this path, once it has one."""
        done = ("Completed", "Failed", "Canceled")
        found = wait_until(
            lambda: status if (status := self.status_of(path)) in done else "", within_s=within_s, every_s=0.2
        )
        return str(found)

    def log(self, path: str) -> str:
        """What the run whose page is at this path has printed."""
        return self.get(f"{path}logs/raw/", file=STD_LOG).text

    @property
    def _token(self) -> str:
        found = next(cookie.value for cookie in self._cookies if cookie.name == "studio_csrf")
        return found or ""

    def _ask(
        self,
        path: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Answer:
        request = urllib.request.Request(self.url + path, data=data, headers=headers or {})
        begin = time.monotonic()
        try:
            response = self._opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read().decode("utf-8", "replace")
            location = response.headers.get("Location", "")
            return Answer(response.status or 0, text, location, time.monotonic() - begin)
