"""What a room is, who may do what in it, and what just happened.

`Core` puts the parts together; a dialect uses `core.rooms` and `core.peers`. Everything that can be said about a room
stands in `model.py`, everything that can happen to one in `events.py`, every refusal in `errors.py`.
"""
