"""Proofs, where tools run: properties lowered to plain Verilog, a model for SMT solvers, and the questions to them.

`prepare` reads the sources and writes the model; `check` asks for violations, inductive proofs and covers; `timing`
asks whether two runs that differ in secrets differ for an observer. Each is a program of its own.
"""
