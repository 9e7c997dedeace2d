"""GTUBE: the text by which a spam filter is tested, as EICAR is for virus scanners. A message with it is rejected."""

from filterd import Task, rule

# In two pieces, so that this file itself can be mailed.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@rule("GTUBE", type="prefilter", priority=10, group="test", description="The generic test message for spam filters")
def gtube(task: Task) -> bool:
    # Cheap for all others: the bytes are searched before any part is decoded.
    if GTUBE.encode() not in task.message.raw and not any(GTUBE in part.content for part in task.message.text_parts):
        return False
    task.set_pre_result("reject", "Gtube pattern", "gtube", score=task.threshold("reject"), priority=3)
    return True
