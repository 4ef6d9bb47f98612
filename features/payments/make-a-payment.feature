Feature: Make a payment
  A billing service asks the holder of a DID to pay on chain. The holder proves the DID, signs the terms and pays from a
  wallet; Farebox verifies the transfer, and tells both.

  Background:
    Given a billing service that listens for events
    And a payer who has signed in with a wallet

  @P1
  Scenario: Both sides are told of a new request
    When the billing service asks the payer for 10 dollars
    Then the request is "pending"
    And the payer is told that it is "created"
    And the billing service receives a signed call that it is "created"
    And the payer sees the request in the own session
    And the page of the request shows "10 TUSD"

  @P1
  Scenario: Nobody else sees the request
    When the billing service asks the payer for 10 dollars
    Then a stranger who has signed in does not find the request

  @P2 @P3
  Scenario Outline: With <identity>: the payer proves the DID and signs the very terms
    Given a payer who has signed in with <identity>
    When the billing service asks the payer for 10 dollars
    And the payer asks for a challenge to pay
    Then the challenge holds the terms and says "Pay 10 TUSD"
    When the payer signs the challenge
    Then the request is "authenticated"
    And the payer is told that it is "authenticated"

    Examples:
      | identity  |
      | Ed25519   |
      | secp256k1 |
      | P-256     |
      | a wallet  |

  @P2
  Scenario: Nothing can be paid before the payer has proved the DID
    When the billing service asks the payer for 10 dollars
    Then nothing tells the payer yet where to pay
    And a transaction of the payer is refused

  @P3
  Scenario: The terms do not change after they were signed
    When the billing service asks the payer for 10 dollars
    And the payer agrees
    Then the terms are still those that were signed

  @P4 @P5
  Scenario Outline: With <identity>: the payer pays, has the credits, and both have the receipt
    Given a payer who has signed in with <identity>
    And the billing service has asked the payer for 10 dollars
    And the payer has agreed
    When the payer sends 10 dollars and reports the transaction
    Then the request is "completed"
    And the payer has 1000 credits
    And the payer is told that it is "completed"
    And the billing service receives a signed call that it is "completed"
    And both have the same receipt, signed by the published DID of the service

    Examples:
      | identity  |
      | Ed25519   |
      | secp256k1 |
      | P-256     |
      | a wallet  |

  @P4
  Scenario: A payment that nobody reports is found
    Given the billing service has asked the payer for 10 dollars
    And the payer has agreed
    When the payer sends 10 dollars
    Then the request is "completed"
    And the payer has 1000 credits

  @P4
  Scenario: An invoice is marked as paid, and moves no credits
    Given the billing service has asked the payer for 10 dollars for the invoice "INV-7"
    And the payer has agreed
    When the payer sends 10 dollars and reports the transaction
    Then the request is "completed"
    And the payer has 0 credits

  @P4
  Scenario: Somebody else's payment does not count
    Given the billing service has asked the payer for 10 dollars
    And the payer has agreed
    When a stranger sends 10 dollars and the payer reports that transaction
    Then the payer reads that the transaction was "wrong_payer"
    And the request is "authenticated"
    And the payer has 0 credits

  @P7
  Scenario: A wrong signature rejects the attempt, and the request survives
    Given the billing service has asked the payer for 10 dollars
    When somebody else signs the challenge of the payer
    Then the proof is refused
    And the billing service receives a signed call that it is "authentication_failed"
    And the request is "pending"
    When the payer agrees
    Then the request is "authenticated"

  @P7
  Scenario: The fifth wrong signature voids the challenge, and another one works
    Given the billing service has asked the payer for 10 dollars
    When somebody else signs the challenge of the payer 5 times
    And the payer signs the challenge
    Then the proof is refused
    When the payer agrees
    Then the request is "authenticated"

  @P7
  Scenario: Four wrong signatures leave the challenge to the payer
    Given the billing service has asked the payer for 10 dollars
    When somebody else signs the challenge of the payer 4 times
    And the payer signs the challenge
    Then the request is "authenticated"

  @P8
  Scenario: Too few funds fail on the chain; the payer is told and tries again
    Given the billing service has asked the payer for 10 dollars
    And the payer has agreed
    When the payer sends more dollars than there are and reports the transaction
    Then the payer reads that the transaction was "tx_reverted"
    And the payer is told that it is "transaction_refused"
    And the request is "authenticated"
    When the payer sends 10 dollars and reports the transaction
    Then the request is "completed"

  @P9
  Scenario: A request that is not paid in time expires
    Given the billing service has asked the payer for 10 dollars
    And the payer has agreed
    When the time to pay is over
    Then the request is "expired"
    And the payer is told that it is "expired"
    And the billing service receives a signed call that it is "expired"

  @P9
  Scenario: What was sent in time counts, though it is reported afterwards
    Given the billing service has asked the payer for 10 dollars
    And the payer has agreed
    And the payer sends 10 dollars
    When the time to pay is over
    And the payer reports the transaction
    Then the request is "completed"
