"""Buckets by their URL, with the settings and credentials that the clouds' own tools use.

obstore reads the variables `AWS_*` and `AZURE_*` and asks the machine it runs on (web identity, container,
instance, managed identity). What it does not read is translated here: AWS profiles, Azure connection
strings and the two variables that the Azure CLI spells differently.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, MemoryStore, S3Store

from flowtime.errors import InvalidInput
from flowtime.storage.objects import ObjectStore
from flowtime.storage.store import check_key

_PATIENT: Any = {"max_retries": 5, "retry_timeout": timedelta(minutes=2)}
_ONCE: Any = {"max_retries": 0}
_TIMEOUT = "5m"
"""Time for one request, within which a whole file is sent; `AWS_TIMEOUT` and `AZURE_TIMEOUT` change it."""

_AWS_READS = (
    "among what is read: AWS_REGION, AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID with "
    "AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP=true, AWS_TIMEOUT=5m"
)
_AZURE_READS = (
    "among what is read: AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY, "
    "AZURE_STORAGE_ENDPOINT, AZURE_ALLOW_HTTP=true, AZURE_TIMEOUT=5m"
)
_SECTIONS = "it has sections, as [default] and [profile NAME], of lines as region = eu-west-1"

_AZURE_HOST = re.compile(r"([a-z0-9]{3,24})\.(?:dfs|blob)\.([a-z0-9.-]+)")
_PUBLIC = "core.windows.net"
_OTHER_LOGINS = ("sso_session", "sso_start_url", "role_arn", "credential_process", "login_session")

_memories: dict[str, MemoryStore] = {}


def open_objects(url: str) -> ObjectStore:
    """The store at `s3://bucket/prefix`, `az://container/prefix`, `memory://name` or
    `abfss://container@account.dfs.core.windows.net/prefix`; nothing is read or made yet.

    Raises InvalidInput (FT602) on any other URL, (FT608) where the settings of the cloud do not fit.
    """
    scheme, _, rest = url.partition("://")
    place, _, prefix = rest.partition("/")
    prefix = check_key(prefix.rstrip("/"), root=True)
    try:
        match scheme.lower():
            case "memory":
                memory = _memories.setdefault(place, MemoryStore())
                return ObjectStore(memory, memory, f"memory://{place}", prefix)
            case "s3" if place and "@" not in place:
                return _s3(place, prefix, os.environ)
            case "az" if place and "@" not in place:
                return _azure(place, None, prefix, os.environ)
            case "abfs" | "abfss":
                container, _, host = place.partition("@")
                if container and _AZURE_HOST.fullmatch(host):
                    return _azure(container, host, prefix, os.environ)
    except BaseError as error:
        hint = _AWS_READS if scheme.lower() == "s3" else _AZURE_READS
        raise _bad_settings(str(error).split("\n")[0], url, hint) from error
    raise InvalidInput(
        "FT602",
        f"{url!r} names no bucket or container",
        hint="give s3://bucket/prefix, az://container/prefix or "
        "abfss://container@account.dfs.core.windows.net/prefix",
    )


def _s3(bucket: str, prefix: str, environment: Mapping[str, str]) -> ObjectStore:
    config: Any = {"copy_if_not_exists": "multipart", **_profile(environment)}
    if "AWS_TIMEOUT" not in environment:
        config["timeout"] = _TIMEOUT
    patient, once = (
        S3Store(bucket, prefix=prefix or None, config=config, retry_config=retry)
        for retry in (_PATIENT, _ONCE)
    )
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = next((environment[name] for name in endpoints if environment.get(name)), "")
    return ObjectStore(
        patient, once, f"s3://{bucket}", prefix, service=endpoint or config.get("endpoint", "")
    )


def _profile(environment: Mapping[str, str]) -> dict[str, str]:
    """What the AWS profile says beyond the environment: keys, region, endpoint.

    The files and their format are those of the AWS command line; of the profiles those with keys are read.
    Raises InvalidInput (FT608) on a profile that was named and cannot be used.
    """
    named = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    name = named or "default"
    found: dict[str, str] = {}
    for variable, file, section in (
        ("AWS_CONFIG_FILE", "~/.aws/config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", name),
    ):
        path = Path(environment.get(variable) or file).expanduser()
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            why = f"not an AWS settings file: {str(error).splitlines()[0]}"
            raise _bad_settings(why, str(path), _SECTIONS) from error
        if parser.has_section(section):
            found |= parser.items(section)
    wanted = {"region": "region", "endpoint_url": "endpoint"}
    if not environment.get("AWS_ACCESS_KEY_ID"):
        if named and "aws_access_key_id" not in found:
            why = "signs in by other means than keys" if found.keys() & set(_OTHER_LOGINS) else "has no keys"
            raise InvalidInput(
                "FT608",
                f"the AWS profile {name!r} {why}",
                where="AWS_PROFILE",
                hint="`aws configure export-credentials` prints its keys; set them as AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
            )
        wanted |= {f"aws_{key}": key for key in ("access_key_id", "secret_access_key", "session_token")}
    if any(environment.get(variable) for variable in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        del wanted["region"]
    if any(variable.startswith("AWS_ENDPOINT") for variable in environment):
        del wanted["endpoint_url"]
    return {ours: found[theirs] for theirs, ours in wanted.items() if theirs in found}


def _azure(container: str, host: str | None, prefix: str, environment: Mapping[str, str]) -> ObjectStore:
    config: Any = {}
    for variable, name in (("AZURE_STORAGE_ACCOUNT", "account_name"), ("AZURE_STORAGE_KEY", "account_key")):
        if environment.get(variable):
            config[name] = environment[variable]
    config |= _connection(environment.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    if "AZURE_TIMEOUT" not in environment:
        config["timeout"] = _TIMEOUT
    if config.get("endpoint", "").startswith("http://"):
        config["allow_http"] = "true"  # the connection string asks for it in so many words
    account = config.get("account_name") or environment.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    emulated = config.get("use_emulator") or environment.get("AZURE_STORAGE_USE_EMULATOR", "").lower() in (
        "1", "true", "yes", "on",
    )  # fmt: skip
    if emulated:
        account = account or "devstoreaccount1"
    place = f"az://{container}"
    if host is not None:
        match = _AZURE_HOST.fullmatch(host)
        assert match is not None
        if account and account != match[1] and "account_key" in config:
            raise _bad_settings(
                f"the key in the environment belongs to the account {account!r}",
                host,
                f"open a container of {account!r}, or set the key of the other",
            )
        account = match[1]
        if match[2] != _PUBLIC:
            config.setdefault("endpoint", f"https://{account}.blob.{match[2]}")
        place = f"abfss://{container}@{host}"
    if not account:
        raise InvalidInput(
            "FT608",
            f"az://{container} does not say in which storage account",
            hint="set AZURE_STORAGE_ACCOUNT, or give abfss://container@account.dfs.core.windows.net/prefix",
        )
    config["account_name"] = account
    patient, once = (
        AzureStore(container, prefix=prefix or None, config=config, retry_config=retry)
        for retry in (_PATIENT, _ONCE)
    )
    endpoint = config.get("endpoint") or environment.get("AZURE_STORAGE_ENDPOINT", "")
    if emulated:
        endpoint = environment.get("AZURITE_BLOB_STORAGE_URL") or "emulator"
    return ObjectStore(patient, once, place, prefix, service=endpoint or f"{account}.{_PUBLIC}", copies=False)


def _connection(text: str) -> dict[str, str]:
    """The settings in an Azure connection string; raises InvalidInput (FT608).

    Format: https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    """
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part.strip())
    if not parts:
        return {}
    if parts.get("UseDevelopmentStorage", "").lower() == "true":
        return {"use_emulator": "true"}
    names = {"AccountName": "account_name", "AccountKey": "account_key", "SharedAccessSignature": "sas_key"}
    config = {ours: parts[theirs] for theirs, ours in names.items() if parts.get(theirs)}
    endpoint = parts.get("BlobEndpoint", "").rstrip("/")
    if endpoint:
        config["endpoint"] = endpoint
        host, path = urlsplit(endpoint).hostname or "", urlsplit(endpoint).path.strip("/")
        config.setdefault("account_name", path or host.partition(".")[0])
    elif "AccountName" in parts and parts.get("EndpointSuffix", _PUBLIC) != _PUBLIC:
        protocol = parts.get("DefaultEndpointsProtocol", "https")
        config["endpoint"] = f"{protocol}://{parts['AccountName']}.blob.{parts['EndpointSuffix']}"
    if "account_name" not in config:
        hint = "it begins like AccountName=...;AccountKey=...; the account's access keys have it to copy"
        raise _bad_settings("it names no account", "AZURE_STORAGE_CONNECTION_STRING", hint)
    return config


def _bad_settings(message: str, where: str, hint: str) -> InvalidInput:
    return InvalidInput("FT608", message, where=where, hint=hint)
