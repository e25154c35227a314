"""Kubeconfigs are read as kubectl reads them, and what is wrong says what to change."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lws_kueue.kubectl import access
from lws_kueue.runtime import asking

PEM = base64.b64encode(b"the certificate").decode()


def config(user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}},
            {"name": "bare", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://one:6443/", **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def written(path: Path, body: Any) -> str:
    path.write_text(yaml.safe_dump(body))
    return str(path)


def test_a_context_gives_server_namespace_and_credentials(tmp_path: Path) -> None:
    user = {"client-certificate-data": PEM, "client-key-data": PEM, "as": "somebody"}
    file = written(tmp_path / "config", config(user, **{"certificate-authority-data": PEM}))
    assert access.load(kubeconfig=file, context=None) == access.Access(
        server="https://one:6443",
        namespace="team",
        headers={"Impersonate-User": "somebody"},
        authority="the certificate",
        certificate="the certificate",
        key="the certificate",
    )
    assert access.load(kubeconfig=file, context="bare").namespace == "default"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"tokenFile": "token"}, "Bearer kept"),
        ({"username": "u", "password": "p"}, "Basic dTpw"),
    ],
)
def test_tokens_and_passwords_become_headers(
    tmp_path: Path, user: dict[str, str], header: str
) -> None:
    (tmp_path / "token").write_text("kept\n")
    file = written(tmp_path / "config", config(user))
    assert access.load(kubeconfig=file, context=None).headers == {"Authorization": header}


def test_an_exec_plugin_is_run(tmp_path: Path) -> None:
    answer = json.dumps({"status": {"token": "fresh"}})
    plugin = {"command": sys.executable, "args": ["-c", f"print('{answer}')"]}
    file = written(tmp_path / "config", config({"exec": plugin}))
    found = access.load(kubeconfig=file, context=None)
    assert found.headers == {"Authorization": "Bearer fresh"}


def test_files_of_kubeconfig_are_merged_and_the_first_one_counts(tmp_path: Path) -> None:
    second = config()
    second["clusters"] = [
        {"name": "c", "cluster": {"server": "https://two"}},
        {"name": "d", "cluster": {"server": "https://three"}},
    ]
    second["contexts"] = [{"name": "there", "context": {"cluster": "d"}}]
    paths = (written(tmp_path / "1", config()), written(tmp_path / "2", second))
    environment = {"KUBECONFIG": ":".join((*paths, str(tmp_path / "missing")))}

    def server(context: str | None) -> str:
        return access.load(kubeconfig=None, context=context, environment=environment).server

    assert (server(None), server("there")) == ("https://one:6443", "https://three")
    contexts = access.contexts(kubeconfig=None, environment=environment)
    assert contexts == ["bare", "here", "there"]


@pytest.mark.parametrize(
    ("body", "context", "says"),
    [
        (config(), "nowhere", "no context nowhere in .*: give --context, one of bare, here"),
        ({}, None, "no current context in .*: give --context"),
        ({**config(), "clusters": []}, None, "names no cluster with a server: set one"),
        (config({"auth-provider": {"name": "oidc"}}), None, "use an exec plugin"),
        (config({"client-key": "missing"}), None, "the kubeconfig names .*missing"),
        (config({"client-key-data": "%"}), None, "client-key-data of the kubeconfig is no base64"),
        (config({"exec": {"command": "/no/such", "installHint": "Get it"}}), None, "Get it"),
        ([1], None, "cannot be used: it is no map"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_says_what_to_change(
    tmp_path: Path, body: Any, context: str | None, says: str
) -> None:
    file = written(tmp_path / "config", body)
    with pytest.raises(asking.NoServerError, match=says):
        access.load(kubeconfig=file, context=context)


def test_without_any_kubeconfig_it_is_said_how_to_give_one(tmp_path: Path) -> None:
    environment = {"KUBECONFIG": str(tmp_path / "none")}
    with pytest.raises(asking.NoServerError, match="give --kubeconfig FILE or set KUBECONFIG"):
        access.load(kubeconfig=None, context=None, environment=environment)
