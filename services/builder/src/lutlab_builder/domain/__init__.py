"""Pure rules of a build: what an upload may hold, what names a build, what the tools' output means."""
