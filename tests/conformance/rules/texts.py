"""Registrable domains, digests, an outside service asked by key, and a link that one rule finds for another."""

import hashlib

from filterd import Task, http, register_symbol, rule

# Suffixes of one and two labels, private ones, one with a wildcard and one that is an exception from it.
DOMAINS = """example.ac example.com.br example.co city.kawasaki.jp example.com example.co.za example.in.net
example.b.kawasaki.jp example.net example.net.in example.b.nom.br example.org example.org.ac example.ru.com example.za.net
example.za.org org.org.za""".split()

DIGESTS = {
    "md5": "5d41402abc4b2a76b9719d911017c592",
    "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "sha1": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
}


@rule("TEST_TLD")
def tlds(task: Task) -> tuple[bool, list[str] | str]:
    wrong = []
    for domain in DOMAINS:
        for name in (domain, f"sub.{domain}", f"a.b.{domain}"):
            found = task.get(f"id('{name}').get_tld"), getattr(task.inject_url(f"http://{name}/"), "domain", None)
            wrong += [f"{name}: {found}"] if found != (domain, domain) else []
    return True, wrong or "no worry"


@rule("TEST_HASHES")
def hashes(task: Task) -> tuple[bool, list[str] | str]:
    wrong = [name for name, digest in DIGESTS.items() if task.get(f"id('hello').digest('hex', '{name}')") != digest]
    if task.get("id('hello').digest") != hashlib.blake2b(b"hello").hexdigest():
        wrong.append("blake2")
    return True, wrong or "no worry"


def external(task: Task) -> tuple[bool, str] | None:
    err, response = http.request(f"http://127.0.0.1:{task.get_request_header('Port')}/hello%20map")
    return None if err else (True, f"+{response.text.replace('%20', ' ')}")


register_symbol(name="EXTERNAL_MAP", callback=external)


@rule("TEST_INJECT_URL")
def injects(task: Task) -> bool:
    url = task.inject_url("http://injected.example.com/a")
    again = task.inject_url("http://injected.example.com/a")
    return url is not None and again is url and task.inject_url("mailto:x") is None


@rule("INJECTED_IS_SEEN", after="TEST_INJECT_URL")
def seen(task: Task) -> tuple[bool, list[str]]:
    return True, [str(url) for url in task.message.urls if url.source == "injected"]
