import pymq
from peer_side import say, told

say({"pymq": hasattr(pymq, "init")})
for value in told():
    say(value)
