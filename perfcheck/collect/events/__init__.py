"""Events: what is rare and explains much, one record each."""
