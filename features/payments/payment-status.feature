Feature: Payment status
  The payer and the billing service see how a payment request stands. The payer proves the DID before anything is shown.

  Background:
    Given a billing service that listens for events
    And a payer who has signed in with a wallet
    And the billing service has asked the payer for 10 dollars

  @P2 @P6
  Scenario: The holder of the DID is shown the status by a proof of its own
    When the payer asks for a challenge to see the status
    And the payer signs the challenge
    Then the payer is shown that the request is "pending"

  @P2
  Scenario: Without a proof or a session, nothing is shown
    Then whoever has proved nothing is denied the status

  @P7
  Scenario: A failed proof is denied, and the user is told so
    When the payer asks for a challenge to see the status
    And somebody else signs it
    Then the proof is refused
    And the payer is told that it is "authentication_failed"

  @P7
  Scenario: A proof that was made to see the status cannot agree to pay
    When the payer asks for a challenge to see the status
    And the payer answers it as if it were the challenge to pay
    Then the proof is refused
    And the request is "pending"

  @P6
  Scenario: From the request to its end, each status is seen by both
    Then both see that the request is "pending"
    When the payer agrees
    Then both see that the request is "authenticated"
    When the payer reports a transaction that nobody has seen yet
    Then both see that the request is "submitted"
    When the payer sends 10 dollars and reports the transaction
    Then both see that the request is "completed"

  @P6
  Scenario: A payment that is not final yet is being confirmed
    Given the chain wants 3 confirmations
    And the payer has agreed
    When the payer sends 10 dollars and reports the transaction
    Then both see that the request is "confirming"
    And the payer has 0 credits
    When 2 more blocks are made
    Then both see that the request is "completed"
    And the payer has 1000 credits

  @P6
  Scenario: Too little waits for the rest
    Given the payer has agreed
    When the payer sends 4 dollars and reports the transaction
    Then both see that the request is "underpaid"
    And 6 dollars are still to be paid
    When the payer sends 6 dollars and reports the transaction
    Then both see that the request is "completed"

  @P6
  Scenario: Too much is kept as an excess
    Given the payer has agreed
    When the payer sends 12 dollars and reports the transaction
    Then both see that the request is "completed"
    And 2 dollars are an excess

  @P6 @P8
  Scenario: A transaction that pays nothing is named, with its reason
    Given the payer has agreed
    When the payer sends more dollars than there are and reports the transaction
    Then the payer reads that the transaction was "tx_reverted"
    And both see that the request is "authenticated"

  @P6 @P9
  Scenario: What is sent after the end is late
    Given the payer has agreed
    When the time to pay is over
    Then both see that the request is "expired"
    When the payer sends 10 dollars and reports the transaction
    Then both see that the request is "late"
    And the payer has 0 credits

  @P6
  Scenario: A request that the billing service withdraws is cancelled
    When the billing service withdraws the request
    Then both see that the request is "cancelled"
    And the payer is told that it is "cancelled"
