"""A rule that reads everything there is in a message."""

from filterd import Task, rule


@rule("READ_ALL", score=1.0)
def read_all(task: Task) -> tuple[bool, int, int, int, int]:
    message = task.message
    words = sum(len(part.words) for part in message.text_parts)
    html = sum(part.is_html for part in message.text_parts)
    names = [(one.filename, one.detected_type) for one in message.attachments]
    return bool(message.subject), words + html, len(message.urls), len(message.emails), len(names)
