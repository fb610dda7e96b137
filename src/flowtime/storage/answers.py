"""What a cloud answers where it does not do what it was asked, in words for people."""

from __future__ import annotations

import re

from obstore.exceptions import InvalidPathError, PermissionDeniedError, UnauthenticatedError

from flowtime.errors import Unavailable

_FINAL = re.compile(r"status code: 4(?!08|29)\d\d|builder error")
_TORN = re.compile(r"(?:response|request) body")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|ContainerBeingDeleted|FilesystemNotFound")
_NO_LOGIN = re.compile(r"(?i)credential|metadata/instance|security-credentials|oauth2/token|latest/api/token")


def is_final(error: Exception) -> bool:
    """Whether the same request will fail again."""
    return _FINAL.search(str(error)) is not None


def is_torn(error: Exception) -> bool:
    """Whether the answer began and did not come to its end."""
    return _TORN.search(str(error)) is not None


def is_without_bucket(error: Exception) -> bool:
    """Whether the bucket or container itself is missing."""
    return _NO_BUCKET.search(str(error)) is not None


def unavailable(error: Exception, where: str, address: str) -> Unavailable:
    """The error to raise for one of the library's, at `where` in the store at `address`."""
    # The first paragraph is for people; a query may hold a signature.
    reason = re.sub(r"\?[^\s'\"]*", "", str(error).split("\n\n")[0]).strip()
    reason = " ".join(reason.split())[:400]
    if isinstance(error, FileNotFoundError) or is_without_bucket(error):
        return Unavailable(
            "FT607",
            "the bucket or container does not exist",
            where=address,
            hint="make it with the cloud's own tools, or check spelling, account and endpoint",
        )
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or _NO_LOGIN.search(str(error)):
        return Unavailable(
            "FT605",
            f"the service refuses access: {reason}",
            where=where,
            hint="check the credentials (AWS_ACCESS_KEY_ID or AWS_PROFILE; AZURE_STORAGE_KEY or "
            "AZURE_STORAGE_CONNECTION_STRING) and what they allow",
        )
    if isinstance(error, InvalidPathError):
        return Unavailable(
            "FT606",
            f"a foreign object here has a name that cannot be read: {reason}",
            where=where,
            hint="rename or delete that object, or keep the registry under a prefix of its own",
        )
    plain = "builder error" in reason
    return Unavailable(
        "FT606",
        f"the service does not answer as it should: {reason}",
        where=where,
        hint="set AWS_ALLOW_HTTP=true (AZURE_ALLOW_HTTP=true) for an endpoint without encryption"
        if plain
        else "check the network and the endpoint, and try again",
    )
