// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IComputeOracle} from "../interfaces/IComputeOracle.sol";
import {Job} from "../libraries/Job.sol";

/// @notice A shipment is sold by the item: the buyer escrows a price for each, and the supplier is paid for every item whose
/// verdict, proved against the job both agreed on, is of the agreed grade. What is unpaid at the deadline goes back.
/// An example of a consumer: it acts only on a job whose full terms it recomputed into the job's id. Whether that job is
/// worth relying on, and the deadline late enough for it, both parties judge before they rely on a sale (docs/contracts.md).
contract ShipmentSale {
    struct Sale {
        address buyer;
        address supplier;
        bytes32 jobId;
        uint64 itemCount;
        uint64 deadline; // seconds; from then on the buyer may take back what is unpaid
        uint32 grade; // the class that is paid for: the index of the greatest logit
        uint96 pricePerItem; // wei
        uint256 escrow; // wei left
    }

    error NoSuchSale(uint256 saleId);
    error UnknownJob(bytes32 jobId);
    error WrongEscrow(uint256 expected, uint256 got);
    error NoSuchItem(uint256 index, uint256 itemCount);
    error AlreadyPaid(uint256 saleId, uint256 index);
    error WrongGrade(uint256 index, uint256 grade, uint256 expected);
    error VerdictNotProved(uint256 index);
    error TooLate(uint256 deadline);
    error TooEarly(uint256 deadline);
    error NothingToRefund(uint256 saleId);
    error NothingToWithdraw(address payee);
    error PaymentRefused(address payee, uint256 amount);

    event SaleOpened(uint256 indexed saleId, address indexed buyer, address indexed supplier, bytes32 jobId);
    event ItemPaid(uint256 indexed saleId, uint256 index, uint256 amount);
    event SaleClosed(uint256 indexed saleId, uint256 refunded);
    event Withdrawn(address indexed payee, uint256 amount);

    IComputeOracle public immutable ORACLE;
    uint256 public saleCount;
    mapping(uint256 saleId => Sale) public sales;
    mapping(uint256 saleId => mapping(uint256 word => uint256 bits)) private _paid;
    mapping(address payee => uint256) public credits;

    constructor(IComputeOracle oracle) {
        ORACLE = oracle;
    }

    /// @notice Opens a sale for the items of `job`; the payment is itemCount · pricePerItem.
    function open(Job calldata job, address supplier, uint32 grade, uint96 pricePerItem, uint64 deadline)
        external
        payable
        returns (uint256 saleId)
    {
        bytes32 jobId = ORACLE.jobIdOf(job);
        if (ORACLE.jobState(jobId).createdBlock == 0) revert UnknownJob(jobId);
        uint256 price = uint256(job.terms.itemCount) * pricePerItem;
        if (msg.value != price) revert WrongEscrow(price, msg.value);

        saleId = saleCount++;
        sales[saleId] =
            Sale(msg.sender, supplier, jobId, job.terms.itemCount, deadline, grade, pricePerItem, msg.value);
        emit SaleOpened(saleId, msg.sender, supplier, jobId);
    }

    /// @notice Credits the supplier for one item. Anyone may bring the proof.
    /// @param output The item's int32 logits, big endian.
    function pay(uint256 saleId, uint256 index, bytes calldata output, bytes32[] calldata siblings) external {
        Sale storage sale = _sale(saleId);
        if (block.timestamp >= sale.deadline) revert TooLate(sale.deadline);
        if (index >= sale.itemCount) revert NoSuchItem(index, sale.itemCount);
        if (_paid[saleId][index / 256] & (1 << (index % 256)) != 0) revert AlreadyPaid(saleId, index);
        if (!ORACLE.verdict(sale.jobId, index, output, siblings)) revert VerdictNotProved(index);
        uint256 grade = _argmax(output);
        if (grade != sale.grade) revert WrongGrade(index, grade, sale.grade);

        _paid[saleId][index / 256] |= 1 << (index % 256);
        sale.escrow -= sale.pricePerItem;
        credits[sale.supplier] += sale.pricePerItem;
        emit ItemPaid(saleId, index, sale.pricePerItem);
    }

    /// @notice After the deadline, credits the buyer with what no verdict has earned.
    function close(uint256 saleId) external {
        Sale storage sale = _sale(saleId);
        if (block.timestamp < sale.deadline) revert TooEarly(sale.deadline);
        uint256 refund = sale.escrow;
        if (refund == 0) revert NothingToRefund(saleId);

        sale.escrow = 0;
        credits[sale.buyer] += refund;
        emit SaleClosed(saleId, refund);
    }

    function withdraw() external {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NothingToWithdraw(msg.sender);
        credits[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert PaymentRefused(msg.sender, amount);
    }

    function _sale(uint256 saleId) private view returns (Sale storage sale) {
        sale = sales[saleId];
        if (sale.buyer == address(0)) revert NoSuchSale(saleId);
    }

    /// The index of the greatest logit; the lowest of equals.
    function _argmax(bytes calldata output) private pure returns (uint256 best) {
        int32 greatest = type(int32).min;
        for (uint256 i = 0; i < output.length / 4; i++) {
            int32 logit = int32(uint32(bytes4(output[4 * i:4 * i + 4])));
            if (logit > greatest) (greatest, best) = (logit, i);
        }
    }
}
