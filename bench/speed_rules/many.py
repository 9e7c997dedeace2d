"""Many rules that look at a header; the first of them finds something."""

from filterd import Task, config, register_symbol


def looking(name: str, word: str) -> None:
    def look(task: Task) -> bool:
        return word in (task.message.header("Subject") or "")

    register_symbol(name=name, callback=look, score=0.1)


for number in range(config.module("bench")["many"]):
    looking(f"MANY_{number}", f"offer {number}" if number else "quarter")
