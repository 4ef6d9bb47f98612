import { Buffer } from 'node:buffer';
import QRCode from 'qrcode';

/** The QR code of a text as the address of an image: black on white with its quiet zone, in both schemes. */
export async function qrOf(text: string): Promise<string> {
  const svg = await QRCode.toString(text, { type: 'svg', margin: 4, errorCorrectionLevel: 'M' });
  return `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`;
}
