// SPDX-License-Identifier: UNLICENSED
pragma solidity ^0.8.20;

/// Hands ether on, as wallets that are contracts do: no receipt shows it.
contract EtherForwarder {
    function forward(address payable to) external payable {
        (bool ok,) = to.call{value: msg.value}("");
        require(ok, "refused");
    }
}
