"""What the demo tells: its pinned examples, decisions in words, and what it leaves to be looked at."""
