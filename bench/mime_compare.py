"""What filterd reads in a folder of messages, against what Rspamd reads: parts, subjects, links, addresses.

`python -m bench.mime_compare FOLDER` needs Debian's rspamd. It prints each difference, and at the end how many messages have
one of which kind. Differences are no faults by themselves: docs/decisions.md says which of them are meant.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filterd.mail.message import Message

# `rspamadm mime` prints links and text only; its Lua interpreter has the same parser and all that it found.
SCRIPT = """
local rspamd_task, ucl = require "rspamd_task", require "ucl"
-- Without its list of top-level domains it finds no links in plain text.
require("rspamd_url").init(rspamd_paths["SHAREDIR"] .. "/effective_tld_names.dat")
for path in io.lines(os.getenv("MESSAGES")) do
  local is_loaded, task = rspamd_task.load_from_file(path, rspamd_config)
  local row = {path = path, parts = {}, hosts = {}, phished = {}, emails = {}}
  if is_loaded and task:process_message() then
    row.subject = task:get_subject()
    for _, part in ipairs(task:get_parts() or {}) do
      local kind, subkind = part:get_type()
      table.insert(row.parts, (kind or "") .. "/" .. (subkind or ""))
    end
    for _, url in ipairs(task:get_urls({"http", "https", "ftp"}, true) or {}) do
      row.hosts[url:get_host()] = true
      if url:is_phished() then row.phished[url:get_host()] = true end
    end
    for _, email in ipairs(task:get_emails() or {}) do
      row.emails[(email:get_user() or "") .. "@" .. (email:get_host() or "")] = true
    end
  end
  print(ucl.to_format(row, "json-compact"))
  if is_loaded then task:destroy() end
end
"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    if shutil.which("rspamadm") is None:
        print("rspamadm is missing: apt-get install rspamd", file=sys.stderr)
        return 1
    files = sorted(path for path in arguments.parse_args().folder.rglob("*") if path.is_file())
    kinds: Counter[str] = Counter()
    equal = 0
    for theirs in _rspamd(files):
        path = Path(theirs["path"])
        for what in ("hosts", "phished"):
            theirs[what] = set(map(_unicode, theirs[what]))
        differences = list(_differences(_filterd(path.read_bytes()), theirs))
        equal += not differences
        kinds.update({kind for kind, _ in differences})
        for kind, text in differences:
            print(f"{path.name}: {kind}: {text}")
    print(f"\n{len(files)} messages, {equal} read alike")
    for kind, count in kinds.most_common():
        print(f"{count:5} {kind}")
    return 0


def _rspamd(files: list[Path]) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        script, listed = Path(folder, "read.lua"), Path(folder, "messages")
        script.write_text(SCRIPT)
        listed.write_text("".join(f"{path}\n" for path in files))
        ran = subprocess.run(
            ["rspamadm", "lua", "-b", script], env=os.environ | {"MESSAGES": str(listed)}, capture_output=True, check=True
        )
    for line in ran.stdout.decode(errors="replace").splitlines():
        if line.startswith("{"):
            yield json.loads(line, strict=False)


def _filterd(raw: bytes) -> dict[str, Any]:
    message = Message(raw)
    return {
        "parts": [part.type for part in message.parts],
        "subject": message.subject,
        "hosts": {_unicode(url.host.strip("[]")) for url in message.urls},
        "phished": {_unicode(url.host.strip("[]")) for url in message.urls if url.phished},
        "emails": {f"{address.user}@{address.domain}" for address in message.emails},
    }


def _unicode(host: str) -> str:
    try:
        return host.encode().decode("idna") if "xn--" in host else host
    except UnicodeError:
        return host


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if len(ours["parts"]) != len(theirs["parts"]):
        yield "number of parts", f"{ours['parts']} / {theirs['parts']}"
    elif ours["parts"] != list(theirs["parts"]):
        yield "types of parts", f"{ours['parts']} / {theirs['parts']}"
    if (ours["subject"] or "") != (theirs.get("subject") or ""):
        yield "subject", f"{ours['subject']!r} / {theirs.get('subject')!r}"
    for what in ("hosts", "phished", "emails"):
        wanted = set(theirs[what])
        if more := ours[what] - wanted:
            yield f"{what} only we find", " ".join(sorted(more))
        if fewer := wanted - ours[what]:
            yield f"{what} only Rspamd finds", " ".join(sorted(fewer))


if __name__ == "__main__":
    sys.exit(main())
