// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Asks a chain for what the protocol needs of one: events, revert data, block hashes, headers, nested gas.
contract ChainProbe {
    event Stored(address indexed by, uint256 indexed slot, uint256 value);

    error Refused(uint256 code, string why);

    mapping(uint256 slot => uint256 value) public stored;

    /// @notice Stores a value and says so.
    function store(uint256 slot, uint256 value) public {
        stored[slot] = value;
        emit Stored(msg.sender, slot, value);
    }

    /// @notice Stores `count` fresh values.
    function storeMany(uint256 first, uint256 count) external {
        for (uint256 i = 0; i < count; i++) store(first + i, block.number);
    }

    /// @notice Reverts with an error of its own.
    function refuse(uint256 code) external pure {
        revert Refused(code, "as asked");
    }

    /// @notice Reverts with a text, after a write.
    function refuseWithText() external {
        stored[0] = 1;
        require(false, "in words");
    }

    /// @notice Burns all gas it is given.
    function exhaust() external view {
        while (true) stored[gasleft()];
    }

    /// @notice What BLOCKHASH says.
    function hashOf(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    /// @notice The block's context, as the EVM sees it.
    function context() external view returns (uint256 number, uint256 timestamp, uint256 prevrandao, uint256 baseFee) {
        return (block.number, block.timestamp, block.prevrandao, block.basefee);
    }

    /// @notice Is this the header of that block, by its hash?
    function isHeaderOf(uint256 number, bytes calldata header) external view returns (bool) {
        return keccak256(header) == blockhash(number);
    }

    /// @notice Calls itself `depth` times, then stores `count` values; reverts if the innermost call had too little gas.
    function nest(uint256 depth, uint256 first, uint256 count) external {
        if (depth == 0) {
            for (uint256 i = 0; i < count; i++) store(first + i, 1);
            return;
        }
        (bool done,) = address(this).call(abi.encodeCall(this.nest, (depth - 1, first, count)));
        if (!done) revert Refused(depth, "nested call failed");
    }

    /// @notice Calls itself until the EVM's own limits stop it; how deep it came.
    function plunge(uint256 depth) external returns (uint256) {
        (bool done, bytes memory answer) = address(this).call(abi.encodeCall(this.plunge, (depth + 1)));
        return done ? abi.decode(answer, (uint256)) : depth;
    }
}
