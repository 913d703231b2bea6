"""FastAPI: routes, models, error bodies, the OpenAPI document."""
