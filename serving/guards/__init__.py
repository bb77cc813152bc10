"""The first tier: small embedded models and rules that label requests and check drafts."""
