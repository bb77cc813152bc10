"""The entry point of `python -m workers.settings`: prints the settings in force, or with `--markdown` their page."""

from workers.settings.loading import main

main()
