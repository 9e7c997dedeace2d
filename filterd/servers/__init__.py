"""Front doors: a socket, a protocol and the one joint `scan(request)`. They do not know each other."""
