"""The embedded guards: labels of requests, classification and bias of drafts."""
