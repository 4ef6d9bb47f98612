Feature: Request a refund
  A payer asks back what was paid too much on chain, or for what was not used. The payer proves the DID afresh, the amount
  is checked, and both sides are told once it is done.

  Background:
    Given a billing service that listens for events
    And a payer who has signed in with a wallet
    And the billing service has asked the payer for 10 dollars
    And the payer has agreed

  @P10 @P2
  Scenario: An overpayment becomes credits, after a fresh proof of the DID
    Given the payer has paid 12 dollars
    When the payer proves the DID and asks the excess back as credits
    Then the refund is "completed"
    And the payer has 1200 credits
    And the payer is told that the refund is "completed"

  @P10 @P2
  Scenario: Without a proof nothing goes back
    Given the payer has paid 12 dollars
    When the payer asks the excess back without a proof
    Then the refund is not accepted, because of "/proof"
    And the payer has 1000 credits

  @P10 @P7
  Scenario: A proof by somebody else is denied
    Given the payer has paid 12 dollars
    When somebody else proves another DID and asks the excess back
    Then the proof is refused
    And the payer has 1000 credits

  @P10
  Scenario: Credits that were not used go back to the wallet that paid, once an operator has paid them
    Given the payer has paid 10 dollars
    When the payer proves the DID and asks 300 credits back to the wallet
    Then the refund is "awaiting_approval"
    When an operator approves the refund
    Then the refund is "reserved"
    And the payer has 700 credits
    When an operator pays 3 dollars to the wallet of the payer and says by which transaction
    Then the refund is "completed"
    And the payer is told that the refund is "completed"
    And the payer has 700 credits

  @P10
  Scenario: An operator who pays another amount has not paid it
    Given the payer has paid 10 dollars
    When the payer proves the DID and asks 300 credits back to the wallet
    And an operator approves the refund
    And an operator pays 2 dollars to the wallet of the payer and says by which transaction
    Then the operator reads that the payout was "wrong_amount"
    And the refund is "reserved"

  @P10
  Scenario: More than was not used is not given back
    Given the payer has paid 10 dollars
    When the payer proves the DID and asks 1001 credits back to the wallet
    Then the refund is refused with "refund_too_large"
    And the payer has 1000 credits

  @P10
  Scenario: An operator rejects, and the credits stay
    Given the payer has paid 10 dollars
    When the payer proves the DID and asks 300 credits back to the wallet
    And an operator rejects the refund
    Then the refund is "rejected"
    And the payer is told that the refund is "rejected"
    And the payer has 1000 credits
