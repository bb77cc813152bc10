"""The steps of the pipeline, one module each: assess, draft, check, remember, audit, publish."""
