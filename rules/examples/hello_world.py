"""The smallest stream action: whoever connects reads `hello world`, with and without having sent anything.

    [listen.hello]
    protocol = "tcp"
    bind = "127.0.0.1:10001"
    request = "hello_world"

Without a server behind it the connection ends when the action has.
"""

from filterd import Txn, action


@action("hello_world", stages={"tcp.request"})
def hello_world(txn: Txn) -> None:
    txn.res.send("hello world\n")
