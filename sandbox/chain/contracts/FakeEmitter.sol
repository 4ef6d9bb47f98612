// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.20;

/// Looks like a token and moves nothing: it says what it is told to.
contract FakeEmitter {
    uint8 public constant decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function emitTransfer(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }
}
