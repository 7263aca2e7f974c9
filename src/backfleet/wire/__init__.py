"""The RPC protocol as plain values: signatures, parameters, answers, errors. No I/O, no words of any product."""
