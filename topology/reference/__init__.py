"""Documents made from the code: JSON Schemas, AsyncAPI, tables of the docs."""
