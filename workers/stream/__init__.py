"""One stream worker: poll, process, commit; conversations' states; the crash journal."""
