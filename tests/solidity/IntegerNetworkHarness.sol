// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IntegerNetwork} from "../../contracts/src/IntegerNetwork.sol";
import {ProgramValidation} from "../../contracts/src/ProgramValidator.sol";

/// @notice Lets the tests call the libraries as the registry does: any program, in chunks made elsewhere.
contract IntegerNetworkHarness {
    function run(address[] calldata chunks, uint256 length, bytes calldata row) external view returns (bytes memory) {
        return IntegerNetwork.run(chunks, length, row);
    }

    function validate(bytes calldata program) external pure returns (uint256 rowLength, uint256 outputLength) {
        return ProgramValidation.validate(program);
    }
}
