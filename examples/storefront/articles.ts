export interface Article {
  /** In its address. */
  slug: string;
  title: string;
  /** In credits. */
  price: number;
  /** In satang, for people without credits. */
  thb?: number;
  /** Paragraphs: what is paid for. */
  text: string[];
}

export const articles: Article[] = [
  {
    slug: 'paying-once',
    title: 'On paying once',
    price: 10,
    thb: 2_000,
    text: [
      'A reload is not a second purchase, and neither is a second tab, a retry or a link that was opened twice.',
      'So an order has a name before it has a payment, and whoever pays it again is shown the receipt of the first time.',
    ],
  },
  {
    slug: 'double-entry',
    title: 'What double entry knew all along',
    price: 25,
    thb: 5_000,
    text: [
      'Nothing appears in an account that has not left another one. What does not sum up to zero has not happened.',
      'Five hundred years later the rule still finds the bug before the customer does.',
    ],
  },
  {
    slug: 'small-change',
    title: 'A short history of small change',
    price: 5,
    text: [
      'Coins that are too big cannot be spent; coins that are too small are not worth their minting.',
      'Every system of money is a bet on what people will want to buy next.',
    ],
  },
];
