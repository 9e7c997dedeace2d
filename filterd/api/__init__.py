"""What rules call: http, dns, tcp_sync, redis. Blocking-looking, and with `callback=` the same call in a child greenlet."""
