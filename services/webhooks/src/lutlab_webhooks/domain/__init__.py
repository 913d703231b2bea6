"""Pure: what an event means to a subscriber, and when to try again."""
