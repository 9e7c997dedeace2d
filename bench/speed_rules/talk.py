"""Rules that talk to a server by TCP: the answer is a line with a length, and so many bytes."""

from filterd import Task, config, register_symbol, tcp_sync

SETTINGS = config.module("bench")


def talk(task: Task) -> bool:
    connection = tcp_sync.connect("127.0.0.1", SETTINGS["tcp"]).unwrap()
    connection.write("ask\n").unwrap()
    length = int(connection.read_until("\n").unwrap())
    return bool(connection.read_bytes(length).unwrap() == b"x" * 99 + b"\n")


for number in range(SETTINGS["talk"]):
    register_symbol(name=f"TALK_{number}", callback=talk, score=0.1)
