"""Verification engines: lint, simulation, formal, crypto, synthesis estimate. Knows nothing of services.

An engine is `async def run(context: StageContext) -> StageResult`. It plans calls of tools, hands each to
`context.tools`, which runs them where the user's code can do no harm, and reads what they wrote.
"""
