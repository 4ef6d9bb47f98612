export { type BuyDeps, buyFor, type Price } from './arrivals/buy.ts';
export { arrivalsFor, settle } from './arrivals/settle.ts';
export { paymentsChecks } from './audit.ts';
export { watchCapabilities } from './capability.ts';
export { countDifferences, differ, isDealtWith, settleDifferences } from './differences.ts';
export { paymentsEvents } from './events.ts';
export { isPaymentCounted } from './lightning/counted.ts';
export { ensureInvoice, type InvoiceDeps, shownInvoice } from './lightning/ensure.ts';
export type { Invoice } from './lightning/open.ts';
export { invoicePages } from './lightning/page-routes.ts';
export { InvoiceOut, renderInvoice } from './lightning/prices.ts';
export { receiptRoutes } from './lightning/receipt-routes.ts';
export { hurryInvoice } from './lightning/watch.ts';
export { paymentsOperatorRoutes } from './operator-routes.ts';
export { differenceFigures, paidFigures, paymentsPanels } from './ops.ts';
export { refundUriOf } from './orders/addresses.ts';
export { claimOfOrder, lockPaidOrder, noteOrderRefunded, orderOfShop } from './orders/refund.ts';
export { orderRoutes } from './orders/routes.ts';
export { payWith } from './packages.ts';
export { requestPages } from './pages/request-routes.ts';
export { checkoutRoutes } from './pages/routes.ts';
export type { Purchase } from './purchases/history.ts';
export {
  claimShare,
  dropShare,
  lockPaidPurchase,
  moneyFor,
  type PaidPurchase,
  settleShare,
} from './purchases/refund.ts';
export { checkReturnUri } from './purchases/start.ts';
export type { PricedRun } from './quotes/quote.ts';
export { evmRail, lightningRail, omiseRail, zapRules } from './rails/configured.ts';
export type { EvmRail } from './rails/evm/evm.ts';
export { displayAmount, type Terms as ChainTerms } from './rails/evm/terms.ts';
export type { ReceiptCode } from './rails/lightning/receipt-codes.ts';
export { matchReceipt, type ReceiptRules, readReceipt, type ZapPayment } from './rails/lightning/zap-receipt.ts';
export type { Charge, ProviderRefund, Rail } from './rails/rail.ts';
export { chainTerms } from './requests/create.ts';
export {
  claimOfRequest,
  lockRefundable,
  noteRefunded,
  type RefundableRequest,
} from './requests/refund.ts';
export { requestRoutes } from './requests/routes.ts';
export { type PaymentsDeps, paymentsRoutes } from './routes.ts';
export { webhookRoutes } from './webhook-routes.ts';
export { paymentsWorkers } from './workers.ts';
