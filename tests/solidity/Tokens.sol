// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice As tokens should be. Anyone mints.
contract GoodToken is ERC20 {
    constructor() ERC20("Good", "GOOD") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @notice Keeps a part of every transfer, or takes it from the sender on top, from the moment it is told to.
contract FeeToken is ERC20 {
    uint256 public feePercent;
    bool public onTop;

    constructor() ERC20("Fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function charge(uint256 percent, bool onTop_) external {
        (feePercent, onTop) = (percent, onTop_);
    }

    function _update(address from, address to, uint256 amount) internal override {
        uint256 fee = from == address(0) ? 0 : amount * feePercent / 100;
        super._update(from, to, onTop ? amount : amount - fee);
        if (fee != 0) super._update(from, address(0), fee);
    }
}

/// @notice Old style: no function that moves anything returns a value.
contract NoReturnToken {
    mapping(address holder => uint256) public balanceOf;
    mapping(address holder => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @notice Balances are parts of a whole that shrinks and grows; a transfer rounds to whole parts.
contract RebasingToken {
    uint256 public numerator = 1;
    uint256 public denominator = 1;
    mapping(address holder => uint256) public parts;
    mapping(address holder => mapping(address spender => uint256)) public allowance;

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function rebase(uint256 numerator_, uint256 denominator_) external {
        (numerator, denominator) = (numerator_, denominator_);
    }

    function mint(address to, uint256 amount) external {
        parts[to] += _partsOf(amount);
    }

    function balanceOf(address holder) external view returns (uint256) {
        return parts[holder] * numerator / denominator;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        parts[from] -= _partsOf(amount);
        parts[to] += _partsOf(amount);
        return true;
    }

    function _partsOf(uint256 amount) private view returns (uint256) {
        return amount * denominator / numerator;
    }
}

/// @notice A good token until its mood changes.
contract MoodyToken is ERC20 {
    enum Mood {
        Honest,
        Reverting, // moves nothing and says so
        False, // moves nothing and returns false
        Lying, // moves nothing and returns true
        Bursting, // moves nothing and returns far too much
        Generous // moves more than it was told to
    }

    error InABadMood();

    Mood public mood;

    constructor() ERC20("Moody", "MOOD") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function turn(Mood mood_) external {
        mood = mood_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return mood == Mood.Honest ? super.transfer(to, amount) : _sulk();
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (mood == Mood.Generous) _mint(to, 1);
        return mood == Mood.Honest || mood == Mood.Generous ? super.transferFrom(from, to, amount) : _sulk();
    }

    function _sulk() private view returns (bool) {
        if (mood == Mood.Reverting) revert InABadMood();
        if (mood == Mood.Bursting) {
            assembly ("memory-safe") {
                revert(0, 1000000)
            }
        }
        return mood == Mood.Lying;
    }
}

interface ITokenHolder {
    function tokensMoved(bool sent) external;
}

/// @notice ERC-777's way: tells a holder that is a contract before its tokens leave and after they arrived.
contract HookToken is ERC20 {
    constructor() ERC20("Hook", "HOOK") {}

    function mint(address to, uint256 amount) external {
        super._update(address(0), to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        _tell(from, true);
        super._update(from, to, amount);
        _tell(to, false);
    }

    function _tell(address holder, bool sent) private {
        if (holder.code.length == 0) return;
        try ITokenHolder(holder).tokensMoved(sent) {} catch {}
    }
}

/// @notice A contract as a party: it does what it is told, and again when its tokens move.
contract HookedHolder is ITokenHolder {
    address public target;
    bytes public callback;
    bool public whenSent;
    uint256 public callbacksThatPassed;
    bytes public lastRefusal;

    function act(address on, bytes calldata input) external payable {
        (bool done, bytes memory output) = on.call{value: msg.value}(input);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(output, 0x20), mload(output))
            }
        }
    }

    function callBack(address on, bytes calldata input, bool whenSent_) external {
        (target, callback, whenSent) = (on, input, whenSent_);
    }

    function tokensMoved(bool sent) external {
        if (target == address(0) || sent != whenSent) return;
        address on = target;
        target = address(0); // once
        (bool passed, bytes memory output) = on.call(callback);
        if (passed) callbacksThatPassed += 1;
        else lastRefusal = output;
    }
}
