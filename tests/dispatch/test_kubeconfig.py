"""A kubeconfig is judged as a value: the field and the fault are told, and nothing that it has."""

import copy
import datetime
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from lws_kueue.dispatch import kubeconfig
from tests.kit.multikueue import kubeconfigs as kit

Object = dict[str, Any]


def judge(content: bytes, **more: Any) -> kubeconfig.Endpoint:
    return kubeconfig.judge(content, now=kit.NOW, **more)


def refusal(content: bytes, **more: Any) -> str:
    with pytest.raises(kubeconfig.Refused) as caught:
        judge(content, **more)
    return str(caught.value)


def cluster(**fields: Any) -> kit.Edit:
    return lambda config: config["clusters"][0]["cluster"].update(fields)


def user(**fields: Any) -> kit.Edit:
    return lambda config: config["users"][0]["user"].update(fields)


def key(name: str, value: Any, edit: Callable[..., kit.Edit]) -> kit.Edit:
    return edit(**{name: value})


def server(url: Any) -> kit.Edit:
    return cluster(server=url)


def context(**fields: Any) -> kit.Edit:
    return lambda config: config["contexts"][0]["context"].update(fields)


def certificate(pair: kit.Pair) -> kit.Edit:
    return lambda config: kit.with_certificate(config, pair)


def mixed(config: Object) -> None:
    kit.with_certificate(config, kit.Pair(kit.signed("one").certificate, kit.signed("two").key))


def second_cluster(config: Object) -> None:
    other = {"server": "https://other", "insecure-skip-tls-verify": True}
    config["clusters"].append({"name": "other", "cluster": other})


def second_user(config: Object) -> None:
    config["users"].append({"name": "other", "user": {"tokenFile": "/etc/passwd"}})


def without(what: str) -> kit.Edit:
    def edit(config: Object) -> None:
        del config[what]

    return edit


def put(what: str, value: Any) -> kit.Edit:
    return lambda config: config.update({what: value})


PEM_OF_NOTHING = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
LONG_AGO = kit.NOW - 2 * kit.YEAR
LATER = kit.NOW + datetime.timedelta(days=30)
CA = "certificate-authority"
AT_C, AT_U = "clusters[0].cluster", "users[0].user"
NO_FILE = "names a file: put its content into the kubeconfig"

# Each line of the table of bad input, by what is done to a good kubeconfig.
REFUSED: dict[str, tuple[kit.Edit, str]] = {
    "no-current-context": (without("current-context"), "current-context is missing"),
    "current-context-unknown": (put("current-context", "x"), "current-context names a context"),
    "no-contexts": (without("contexts"), "current-context names a context that is not there"),
    "context-without-cluster": (context(cluster=""), "contexts[0].context.cluster is missing"),
    "unknown-cluster": (context(cluster="x"), "contexts[0].context.cluster names a cluster"),
    "unknown-user": (context(user="x"), "contexts[0].context.user names a user that is not there"),
    "clusters-no-list": (put("clusters", {"a": 1}), "clusters is not a list"),
    "cluster-no-mapping": (put("clusters", ["a"]), "clusters[0] is not a mapping"),
    "name-twice": (
        lambda config: config["users"].append(copy.deepcopy(config["users"][0])),
        "users[1].name is that of another entry",
    ),
    "server-missing": (server(None), f"{AT_C}.server is missing"),
    "server-no-text": (server(6443), f"{AT_C}.server is not a text"),
    "server-http": (server("http://127.0.0.1:80"), f"{AT_C}.server does not begin with https://"),
    "server-no-scheme": (server("127.0.0.1:80"), f"{AT_C}.server does not begin with https://"),
    "server-no-host": (server("https://"), f"{AT_C}.server names a host that is neither"),
    "server-odd-host": (server("https://a_b!/"), f"{AT_C}.server names a host that is neither"),
    "server-cut-address": (server("https://127.1"), f"{AT_C}.server names a host that is neither"),
    "server-port": (server("https://a:99999"), f"{AT_C}.server is not a URL"),
    "server-with-user": (server(f"https://u:{kit.TOKEN}@a"), f"{AT_C}.server has a user in it"),
    "server-with-query": (server("https://a/?x=1"), f"{AT_C}.server has a query or a fragment"),
    "server-with-fragment": (server("https://a/#x"), f"{AT_C}.server has a query or a fragment"),
    "server-in-two-lines": (server("https://a\nHost: b"), f"{AT_C}.server is not a URL"),
    "tls-server-name": (key("tls-server-name", "a b", cluster), f"{AT_C}.tls-server-name is"),
    "insecure": (
        key("insecure-skip-tls-verify", True, cluster),
        f"{AT_C}.insecure-skip-tls-verify is never served",
    ),
    "insecure-as-text": (
        key("insecure-skip-tls-verify", "true", cluster),
        f"{AT_C}.insecure-skip-tls-verify is never served",
    ),
    "insecure-elsewhere": (second_cluster, "clusters[1].cluster.insecure-skip-tls-verify is never"),
    "authority-path": (key(CA, "/etc/ca", cluster), f"{AT_C}.{CA} {NO_FILE}"),
    "certificate-path": (
        key("client-certificate", "/c", user),
        f"{AT_U}.client-certificate {NO_FILE}",
    ),
    "key-path": (key("client-key", "/k", user), f"{AT_U}.client-key {NO_FILE}"),
    "token-path": (user(token="", tokenFile="/t"), f"{AT_U}.tokenFile {NO_FILE}"),
    "token-path-elsewhere": (second_user, f"users[1].user.tokenFile {NO_FILE}"),
    "authority-no-base64": (key(f"{CA}-data", "%", cluster), f"{AT_C}.{CA}-data is not base64"),
    "authority-no-pem": (
        key(f"{CA}-data", kit.encoded(b"nothing"), cluster),
        f"{AT_C}.{CA} has no certificate in PEM",
    ),
    "authority-no-certificate": (
        key(f"{CA}-data", kit.encoded(PEM_OF_NOTHING.encode()), cluster),
        f"{AT_C}.{CA} has no certificate in PEM",
    ),
    "certificate-without-key": (
        user(**{"client-certificate-data": kit.encoded(kit.signed().certificate)}),
        f"{AT_U}.client-certificate has no client-key beside it",
    ),
    "key-without-certificate": (
        user(**{"client-key-data": kit.encoded(kit.signed().key)}),
        f"{AT_U}.client-key has no client-certificate beside it",
    ),
    "key-of-another": (mixed, f"{AT_U}.client-key is not that of client-certificate"),
    "key-no-key": (
        certificate(kit.Pair(kit.signed().certificate, b"x")),
        f"{AT_U}.client-key has no key in PEM",
    ),
    "certificate-expired": (
        certificate(kit.signed(begun=LONG_AGO)),
        f"{AT_U}.client-certificate expired on {LONG_AGO + kit.YEAR:%Y-%m-%dT%H:%M:%SZ}",
    ),
    "certificate-too-new": (
        certificate(kit.signed(begun=LATER)),
        f"{AT_U}.client-certificate is not valid before",
    ),
    "exec": (user(exec={"command": "/bin/sh"}), f"{AT_U}.exec is not served"),
    "auth-provider": (key("auth-provider", {"name": "gcp"}, user), f"{AT_U}.auth-provider is not"),
    "username": (user(username="u"), f"{AT_U}.username is not served"),
    "password": (user(password=kit.TOKEN), f"{AT_U}.password is not served"),
    "as": (key("as", "admin", user), f"{AT_U}.as is not served"),
    "as-uid": (key("as-uid", "1", user), f"{AT_U}.as-uid is not served"),
    "as-groups": (key("as-groups", ["g"], user), f"{AT_U}.as-groups is not served"),
    "as-user-extra": (key("as-user-extra", {"a": ["b"]}, user), f"{AT_U}.as-user-extra is not"),
    "proxy-url": (key("proxy-url", "http://p", cluster), f"{AT_C}.proxy-url is not served"),
    "no-credentials": (user(token=""), f"{AT_U} has neither a token nor a client certificate"),
    "token-no-text": (user(token=5), f"{AT_U}.token is not a text"),
    "token-of-two-lines": (user(token=f"{kit.TOKEN}\nX: y"), f"{AT_U}.token has characters"),
}


@pytest.mark.parametrize(("edit", "told"), REFUSED.values(), ids=REFUSED)
@pytest.mark.row("MK-49")
def test_what_is_refused_is_told_by_its_field_and_without_its_content(
    edit: kit.Edit, told: str
) -> None:
    config = kit.kubeconfig()
    edit(config)
    text = refusal(kit.text(config))
    assert text.startswith(told), text
    for line in (kit.TOKEN, "/etc/", "/bin/", "admin"):
        assert line not in text


ALIASES = b"a: &a [x, x]\n" + b"".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n".encode() for n in range(20)
)

CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n", "it is empty"),
    "no-yaml": (b"{" + kit.TOKEN.encode(), "it is not YAML"),
    "no-text": (b"\xff\xfe" + kit.TOKEN.encode(), "it is not YAML"),
    "odd-key": (b"? {a: b}\n: c\n", "it is not YAML"),
    "two-documents": (b"a: b\n---\nc: d\n", "it is not YAML"),
    "a-list": (b"- a\n", "the kubeconfig is not a mapping"),
    "a-text": (kit.TOKEN.encode(), "the kubeconfig is not a mapping"),
    "too-large": (b"#" * (2**20 + 1), "it is larger than 1024 KiB"),
    "aliases-that-explode": (ALIASES, "it has YAML aliases"),
    "nested": (b"a: " + b"[" * 500 + b"]" * 500, "it is nested more than 64 levels deep"),
    "python": (b"a: !!python/object/apply:os.system [ls]\n", "it is not YAML"),
}


@pytest.mark.parametrize(("content", "told"), CONTENTS.values(), ids=CONTENTS)
@pytest.mark.row("MK-49")
def test_what_is_no_kubeconfig_is_told_without_its_content(content: bytes, told: str) -> None:
    text = refusal(content)
    assert text.startswith(told), text
    assert kit.TOKEN not in text


def test_a_good_kubeconfig_says_where_the_cluster_is_and_shows_no_secret() -> None:
    endpoint = judge(kit.text(kit.kubeconfig("https://[::1]:6443/k8s/")))
    assert endpoint.server == "https://[::1]:6443/k8s"
    assert endpoint.token == kit.TOKEN
    assert endpoint.authority.encode() == kit.authority().certificate
    assert kit.TOKEN not in repr(endpoint)
    assert "CERTIFICATE" not in repr(endpoint)
    assert endpoint.scrubbed(f"unknown token {kit.TOKEN}") == "unknown token (token)"


def test_a_client_certificate_does_as_well() -> None:
    config = kit.kubeconfig()
    kit.with_certificate(config, kit.signed())
    endpoint = judge(kit.text(config))
    assert (endpoint.certificate, endpoint.key) == (kit.signed().certificate, kit.signed().key)
    assert "KEY" not in repr(endpoint)


def test_other_contexts_do_not_matter_as_long_as_kueue_takes_them_as_well() -> None:
    config = kit.kubeconfig()
    config["users"].append({"name": "other", "user": {"exec": {"command": "x"}}})
    config["clusters"].append({"name": "other", "cluster": {"server": "http://other"}})
    config["contexts"].append({"name": "x", "context": {"cluster": "other", "user": "other"}})
    assert judge(kit.text(config)).token == kit.TOKEN


def test_json_is_yaml() -> None:
    config = kit.kubeconfig()
    flow = yaml.safe_dump(config, default_flow_style=True).encode()
    assert judge(flow) == judge(kit.text(config))


def test_files_are_read_where_they_may_be_and_what_is_wrong_with_one_is_told_of_its_field() -> None:
    pair = kit.signed()
    files = {"/d/ca": kit.authority().certificate, "/d/c": pair.certificate, "/d/k": pair.key}

    def read(path: str) -> bytes:
        if path not in files:
            raise kubeconfig.Refused("names a file that does not exist")
        return files[path]

    config = kit.kubeconfig()
    config["clusters"][0]["cluster"] = {"server": "https://a", CA: "/d/ca"}
    config["users"][0]["user"] = {"client-certificate": "/d/c", "client-key": "/d/k"}
    assert judge(kit.text(config), read_file=read).key == pair.key
    config["users"][0]["user"]["client-key"] = "/d/x"
    assert refusal(kit.text(config), read_file=read) == (
        f"{AT_U}.client-key names a file that does not exist"
    )
    files["/d/token"] = b"  abc \n"
    config["users"][0]["user"] = {"tokenFile": "/d/token"}
    assert judge(kit.text(config), read_file=read).token == "abc"
