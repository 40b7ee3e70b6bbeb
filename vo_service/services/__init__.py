"""One operation per verb: transactions are opened here, statements are not written here."""
