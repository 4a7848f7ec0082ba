"""One server, spoken to until it answers: retries, time limits, and what may travel over which connection.

The token goes with calls of the service alone, never with a file; nothing is redirected, and only HTTPS is spoken, but
to this very machine.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace

import httpx
from pydantic import SecretStr

from eseg_export.upload.patience import Patience
from eseg_zoo.errors import UploadError, shown

_TRANSIENT = frozenset((429, 500, 502, 503, 504))
# Exceptions that the service names in answers of status 500, and the status that they should have: to ask again would
# not help (docs/upload.md).
_NAMED = {
    "AssertionError": 400, "TypeError": 400, "ValueError": 400, "PermissionError": 403, "KeyError": 404,
    "FileExistsError": 409,
}  # fmt: skip
_NAMED_AT_THE_BEGINNING = re.compile(r"(?:\w+: )?(\w+Error):")
_LARGEST_ANSWER = 16 << 20  # bytes
_PIECE = 64 << 10  # bytes of a file between two reports


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    host: str
    status: int
    body: bytes = b""
    retry_after: str | None = None
    location: str | None = None
    is_doubtful: bool = False
    """Whether an earlier try may have been heard, though no answer came."""


class Connection:
    """Sends requests to one server, and as many times as `patience` says."""

    def __init__(
        self,
        server: str,
        token: SecretStr | None,
        *,
        patience: Patience | None = None,
        tell: Callable[[str], None] = lambda _: None,
        transport: httpx.BaseTransport | None = None,
        certificates: ssl.SSLContext | bool = True,
    ):
        self.server = checked_server(server)
        self.host = httpx.URL(self.server).netloc.decode()
        self.patience, self.tell = patience or Patience(), tell
        self._token = token
        self._is_local = _is_loopback(httpx.URL(self.server))
        self._client = httpx.Client(
            transport=transport,
            verify=certificates,
            timeout=httpx.Timeout(self.patience.answering, connect=self.patience.connecting),
            headers={"Accept-Encoding": "identity"},
            trust_env=not self._is_local,  # no proxy may read what goes to this machine in the clear
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, path: str, body: bytes, *, what: str) -> Answer:
        """Return the answer to a call of the service; `what` says in messages what it is for."""
        request = self._client.build_request(
            "POST", f"{self.server}{path}", content=body, headers={"Content-Type": "application/json"}
        )
        return self._until_answered(lambda: self._once(request, _Bearer(self._token)), what)

    def put(
        self, url: Callable[[], str], content: bytes, *, what: str, sent: Callable[[int], None] = lambda _: None
    ) -> Answer:
        """Return the answer to a file that is sent byte for byte, without the token; each try asks `url` anew.

        `sent` hears how many bytes of it are on their way.
        """

        def attempt() -> Answer:
            headers = {"Content-Type": "", "Content-Length": str(len(content))}
            address = self._checked_target(url())
            return self._once(
                self._client.build_request("PUT", address, content=_pieces(content, sent), headers=headers)
            )

        return self._until_answered(attempt, what)

    def without_token(self, text: str) -> str:
        """Return a text of the server without the token, should it repeat it."""
        return text.replace(self._token.get_secret_value(), "***") if self._token else text

    def _until_answered(self, attempt: Callable[[], Answer], what: str) -> Answer:
        """Try until there is an answer that another try would not change; raises `UploadError` when there is none."""
        is_doubtful = False
        for failures in range(1, self.patience.tries + 1):
            answer = None
            try:
                answer = attempt()
            except httpx.TransportError as error:
                host = _host(error.request)
                _refuse_certificate(error, host)
                reason = _reason(error)
                is_doubtful |= not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            else:
                if _settled_status(answer) not in _TRANSIENT:
                    return replace(answer, status=_settled_status(answer), is_doubtful=is_doubtful)
                host = answer.host
                reason = f"it answers {answer.status}"
                is_doubtful |= answer.status not in (429, 503)
            if failures == self.patience.tries:
                break
            seconds = self._wait(answer, failures, what)
            self.tell(f"{what}: {reason}; trying again in {seconds:.0f} s ({failures + 1} of {self.patience.tries})")
            self.patience.sleep(seconds)
        raise UploadError(f"cannot {what} at {host}, tried {self.patience.tries} times: {reason}")

    def _wait(self, answer: Answer | None, failures: int, what: str) -> float:
        """Return the seconds to wait; raises `UploadError` when the server asks for more than anybody waits."""
        asked = self.patience.asked(answer.retry_after) if answer else None
        if answer and asked is not None and asked > self.patience.longest_asked:
            raise UploadError(f"cannot {what}: {answer.host} asks to come back in {asked / 60:.0f} minutes")
        return max(asked or 0.0, self.patience.wait(failures))

    def _once(self, request: httpx.Request, auth: httpx.Auth | None = None) -> Answer:
        """Return the answer to one try; raises `UploadError` for one that cannot be an answer."""
        try:
            response = self._client.send(request, auth=auth, stream=True, follow_redirects=False)
            try:
                body = self._body(response)
            finally:
                response.close()
        except httpx.TransportError:
            raise
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict, ValueError) as error:
            raise UploadError(f"{_host(request)} gives an answer that is no HTTP: {type(error).__name__}") from error
        headers = response.headers
        return Answer(_host(request), response.status_code, body, headers.get("retry-after"), headers.get("location"))

    def _body(self, response: httpx.Response) -> bytes:
        end = self.patience.clock() + self.patience.whole_answer
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _LARGEST_ANSWER:
                raise UploadError(f"{_host(response.request)} gives an answer of more than {_LARGEST_ANSWER >> 20} MiB")
            if self.patience.clock() > end:
                raise httpx.ReadTimeout("the answer trickles in", request=response.request)
        return bytes(body)

    def _checked_target(self, url: str) -> httpx.URL:
        """Return the address that a file goes to; raises `UploadError` for one that it must not go to."""
        begins = shown(_beginning(self.without_token(url)))
        try:
            address = _parsed(url)
        except ValueError as error:
            raise UploadError(f"{self.host} wants a file sent to {begins}, which is no address") from error
        if address.scheme != "https" and not (self._is_local and _is_loopback(address)):
            raise UploadError(f"{self.host} wants a file sent to {begins}: refused, as that is not HTTPS")
        return address


class _Bearer(httpx.Auth):
    """Adds the token to one request."""

    def __init__(self, token: SecretStr | None):
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        yield request


def _refuse_certificate(error: BaseException, host: str) -> None:
    """Raise `UploadError` when the cause is the certificate of the host: another try would not change it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise UploadError(
                f"the certificate of {host} cannot be trusted ({cause.verify_message}); is the address right, and does"
                " nobody listen in between?"
            ) from error
        cause = cause.__cause__ or cause.__context__


def checked_server(address: str) -> str:
    """Return the address of a server without a slash at its end; raises `UploadError` for one that is not safe."""
    begins = shown(_beginning(address).rpartition("@")[2])
    try:
        url = _parsed(address)
    except ValueError as error:
        raise UploadError(f"--server is {begins}; it must be an address such as https://hypha.aicell.io") from error
    if url.query or url.fragment:
        raise UploadError(f"--server is {begins} and more; it must be an address without ? and #")
    if url.scheme != "https" and not _is_loopback(url):
        raise UploadError(f"--server is {begins}; it must begin with https, as anybody could read the token")
    return str(url).rstrip("/")


def _parsed(address: str) -> httpx.URL:
    """Return an address of HTTP; raises `ValueError` for anything that a socket could not take, or with a password."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError) as error:
        raise ValueError(str(error)) from error
    url.host.encode("idna")  # as the socket does it, which raises what httpx does not know
    is_port = url.port is None or 0 < url.port < 65536
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or not is_port:
        raise ValueError(address)
    return url


def _host(request: httpx.Request) -> str:
    """Return whom a request is for, as messages name it."""
    return request.url.netloc.decode("ascii")


def _beginning(address: str) -> str:
    """Return an address up to what may be a key or a signature in it."""
    return re.split("[?#]", address, maxsplit=1)[0]


def _is_loopback(url: httpx.URL) -> bool:
    """Say whether an address is of this machine."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def stated_detail(body: bytes) -> str:
    """Return the reason in an answer of the service, '' where it gives none in its way."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    detail = found.get("detail") if isinstance(found, dict) else None
    return detail if isinstance(detail, str) else ""


def _settled_status(answer: Answer) -> int:
    """Return the status; that of the exception which an answer of status 500 names, where it names one."""
    named = _NAMED_AT_THE_BEGINNING.match(stated_detail(answer.body)) if answer.status == 500 else None
    return _NAMED.get(named[1], 500) if named else answer.status


def _pieces(content: bytes, sent: Callable[[int], None]) -> Iterator[bytes]:
    sent(0)
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
        sent(min(start + _PIECE, len(content)))


def _reason(error: httpx.TransportError) -> str:
    """Return what happened in words."""
    reasons: Mapping[type[httpx.TransportError], str] = {
        httpx.ConnectTimeout: "no connection in time",
        httpx.ConnectError: "no connection",
        httpx.TimeoutException: "no answer in time",
        httpx.ProxyError: "the proxy refuses",
    }
    return next((text for kind, text in reasons.items() if isinstance(error, kind)), "the connection broke")
