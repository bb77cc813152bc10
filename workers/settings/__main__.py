"""`python -m workers.settings`: the settings in force, or with `--markdown` the page of all."""

from workers.settings.loading import main

main()
