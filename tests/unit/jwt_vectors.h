/* Made by jwt_vectors.py; do not edit. */
#define SECRET \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define RSA_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmODCv70VVT+5KmvAraXl\n" \
    "C5DfaIGS/snnL/6wh7nMOhgtw57gpha4af2FK9pzKEnS+jjPn+2j+9OHKd1I2zxZ\n" \
    "9XFf9+kDn9GWtnwtc1FfZz0mgNIEzwHbsFOwpmDdfh8iLq2NJUwbdI5OTk0HzsWa\n" \
    "ImzOX5IAya89/2WKBXXr768n1ttI/ox7ntV3jeW5wmlklpTkCZ9fyA+LSI3AaH7X\n" \
    "1aAgUNQsAyyo934oWBO9YALGGv86q3zn8HsgHUyE32AvuVGeuwWY03FXbfAMVUsF\n" \
    "d62LE74udjBQf/3JJHROGH7N40T2P4+1wl8afV7tgmIrtdHlNbBkL0j3C/swyDle\n" \
    "qwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"
#define OTHER_RSA_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAspdB0xSh5vw1OAMSN5up\n" \
    "sasRSwwhXYS5BA6UaI1ij2f/Iv1runMJLqKnLKNZB9PC/IirvjKtz1fb/JdR9FEw\n" \
    "oK3nzgoqkA6AiGaJAD+yVBAowR//9Q1JgVxOwyk+ioqQkHw2MzqUtLlGOc0PjtGq\n" \
    "qdvMfXM0nAeouVq22Xkqr7b3n+v85dgiVuwYt9IdO7TCINQRkJrwS2fJ2FC4eLrz\n" \
    "BR2SKsJblJasx8CuqAGN+KG0cGxe6DiYu6vWZaAC5NGwTIBq5vJTRLeYcPG8ITMH\n" \
    "ZjXfPlVX//tkNXdaosHdTikmsq0ArPUpHPqrZAg+G5qyz1cLE5VEiNA0PO3i9bqy\n" \
    "xwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"
#define SMALL_RSA_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCimeUyy44sGVWj7UXG+IwFwTGV\n" \
    "eA1wbJmmDIZpY1j/OyieEOOdiA8CwAV3U9EKNh/aajP3V2oF8D9jb/HYBPkKMaxc\n" \
    "v0fT+APIL7vFFLnuQ6pG1Bfhty5FWAYUVMCrSHMUJa/ADwscujl9JfF7JvnNhXJF\n" \
    "4PkuFLGdsgky9LEGpwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"
#define P256_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKxrkYt59PJeqhtPP0oimkfCQp2V2\n" \
    "MMrmBBwlFwj9a4lq+/uQca7BEUwUsqZL37t0EM0+miJj/EjrO6reCqHMkg==\n" \
    "-----END PUBLIC KEY-----\n"
#define P384_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEvLGN5ihmyYJh6Pl6c7IDCkA00IpwhVOj\n" \
    "Wq8rNntxidWwGf/QVewXxtuQssaj1qzcysuW32Q53mU+yttvMgO4XkbaqMKpMWqP\n" \
    "Vn6ginchGINJZEosYvYW+09kOL+ZbFWp\n" \
    "-----END PUBLIC KEY-----\n"
#define P521_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA3Yum/FMe4Ku+cq3M/SlTMJQHStCq\n" \
    "J36eU13KBM/8voKoHRU2qVp3uEOUMOYTR5vhTSJTlO8YFKez484SHXk0kUYAvdLt\n" \
    "8+7VA9wLTud6/hFQyR8l4gechcF0Tdz0RKeUhe4d2Xg0YDr6VgMi0BeNccJODfXq\n" \
    "BNocQHWh6jCHp0+zoG4=\n" \
    "-----END PUBLIC KEY-----\n"
#define K256_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEYAvUokWidu7R8SuYTKpbO2ZIVX68lPlN\n" \
    "PKJDqhtOJTm1DKcPPnfHnqlEYrGyxh0JwiXsniWNf+O8bqQVlR7HcQ==\n" \
    "-----END PUBLIC KEY-----\n"
#define ED25519_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MCowBQYDK2VwAyEAYOgeD2z6VkdMX3ST9aAllUZ6Qc+OmqY+FcesSu9MPG0=\n" \
    "-----END PUBLIC KEY-----\n"
#define ED448_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MEMwBQYDK2VxAzoARYHj6dQRV7r/T2WsaBnhXursGs8iDXCD6+Df3GYDTq35WE4K\n" \
    "Q133xRAP+RxQI/nE0+ZciRfL34iA\n" \
    "-----END PUBLIC KEY-----\n"
#define X25519_PEM \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MCowBQYDK2VuAyEAlZOGsb0GUz1D2I8oZ02Qs3DEZQgSg0blJcIQJpFZ02g=\n" \
    "-----END PUBLIC KEY-----\n"
#define RSA_PKCS1_PEM \
    "-----BEGIN RSA PUBLIC KEY-----\n" \
    "MIIBCgKCAQEAmODCv70VVT+5KmvAraXlC5DfaIGS/snnL/6wh7nMOhgtw57gpha4\n" \
    "af2FK9pzKEnS+jjPn+2j+9OHKd1I2zxZ9XFf9+kDn9GWtnwtc1FfZz0mgNIEzwHb\n" \
    "sFOwpmDdfh8iLq2NJUwbdI5OTk0HzsWaImzOX5IAya89/2WKBXXr768n1ttI/ox7\n" \
    "ntV3jeW5wmlklpTkCZ9fyA+LSI3AaH7X1aAgUNQsAyyo934oWBO9YALGGv86q3zn\n" \
    "8HsgHUyE32AvuVGeuwWY03FXbfAMVUsFd62LE74udjBQf/3JJHROGH7N40T2P4+1\n" \
    "wl8afV7tgmIrtdHlNbBkL0j3C/swyDleqwIDAQAB\n" \
    "-----END RSA PUBLIC KEY-----\n"
#define P256_CERTIFICATE \
    "-----BEGIN CERTIFICATE-----\n" \
    "MIIBEDCBt6ADAgECAgEBMAoGCCqGSM49BAMCMBExDzANBgNVBAMMBmlzc3VlcjAg\n" \
    "Fw0yMDAxMDEwMDAwMDBaGA8yMTAwMDEwMTAwMDAwMFowETEPMA0GA1UEAwwGaXNz\n" \
    "dWVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKxrkYt59PJeqhtPP0oimkfCQ\n" \
    "p2V2MMrmBBwlFwj9a4lq+/uQca7BEUwUsqZL37t0EM0+miJj/EjrO6reCqHMkjAK\n" \
    "BggqhkjOPQQDAgNIADBFAiB2lUaoDK93thUgztW3YxlD4bcpPWnwr84KKoTUuUpn\n" \
    "7AIhAORKjxCC4OE8bn2SwOvJSv0l/y7MyXZiLwE5rVWdC9Zw\n" \
    "-----END CERTIFICATE-----\n"
#define HS256 \
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.GEOfAwUKCqVxOU2RVLtYOJNXaABvgDB7MC988eXZUao"
#define RS256 \
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.lq6pXOEK5-tqMgV-Hcnma7c0D34JMq72n94QrclQBoopptFfPdcvUvLWBjfjW34ggFUH-rxT" \
    "vzcR-mNeqp4LTRG1f__DlNdHy1gpYxIik-Xz1BqB3JzJK7WYriFFqx2BgguMoROxE4tiaEsAfN8_oK3U" \
    "O-0Mq4NdJrdtw7jWUQwnXB29zgvtlKMgzs8LZHdg-GXCrwyyjjcaUT96RMqr4ZeB836UMJLTKiuotH40" \
    "UPRI4E7zOud0ZseprO8k1IUzbIGZR6gro3WzEHR4IngRWkvb6WA49SVFvqD4lDfufMTXgk79uOf8e2-o" \
    "kSfZWrO4Z5unFiH3QEFxOaNtxlrBgg"
#define PS256 \
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.ObBAlLIUAFnV0MsUVUv8hzmKDddPU0ikWxoEjbMWjjASIktw-04VxT8hv_KWcgj52iWzQK8w" \
    "n-5wcywvFZhbB6_KN5RN-EkLGoPmDkoRnngN5corpAJfQBhnsERmu7cOdw-CUN0l1fMAq0RZqjC_A9gh" \
    "_K4fDZhAoX5z3fPpI0dzEXzRbpwZdjrY1dqA5A67jAHg0kTmp-OAsN4VfISZrAdz9J2PKA0BLweflFos" \
    "Ew-qitoF1M_7k_YDkbv5IdlK6DeSeq4qOAvhZO2mmyuPRm1w5KhG2Eaq7xOI0N598WRSS7x2rqhq98YZ" \
    "JjM9s79FsAdzgN1WG1P_DO2IkfydWw"
#define HS384 \
    "eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.Tkkqzuv9Rbqdcaktw34-DzTLJhfkoztzKdc9mCWR9UwZ69mMVfheN1sdCbFNRmWT"
#define RS384 \
    "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.i55L_wJ-DHq9UU8Y1FKR5dVzsyABH-hIh1XxerhlIM7ZiHLHyPhHm21VyJc5bv82cFpjRmYN" \
    "BIxJqj2HQFYhlvfnS01YgcJuN_b1NzPUl3rjS_acKLzcaWIz4xl6KhgRuuirMpphoBzk6YR9s3IIz1VI" \
    "wUobJorV-ttLROotvy8m8ZgGPw5edtUVTBzcyeo9QwaW_M4GlxBBtUBYWDov1RJxF1sSwzwUUALCu_JS" \
    "HFB2NpdjV-m33ameq4opkU08h1KENn2ZaNLfLLsEITWdoR3ESvLR2Tr9hvx4p0D68aKERP1eYUGl7R7S" \
    "M7BGaZK41qkRd5iZLV3bNtMsb18qsA"
#define PS384 \
    "eyJhbGciOiJQUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.Nmbm75xKaDx-UzQRd1k6lGFLzUNEovOp9R3vQP8YLJufdUesuyeVE4-kFRD_b-Cmb6rOIPzi" \
    "mX2uRDuyTKlON-ORJJmHjSzccz6glnFCtTW0AprlRSgZzcnffy69_6m0YOeIoIP2joeuYOfvQQDxl6gT" \
    "nZzjN_JaWG5pGIcTUVoTqdJ-u509qb_tN7kBKtTaYiGEfDXv_KX7zKXC-V_VLHRc7L6iML6DQWFvFdn6" \
    "3O0-1sSU6NOKRCzlF12AlJMCnMnYC3TS072ehqfDeaHphPLh71uLPyKd0P_k0wdGPglDG3SHTN4zSmqx" \
    "-U4-4PzKNxGM4OLyrJHxCSMUUZRKVQ"
#define HS512 \
    "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.7i7CVyvBEkLSP9m7cCYBkSGBFTvdUMzcGoYeRXgIx4bEQxNWVJzakQHN3Lxm9SVxCBuToCgb" \
    "yBaLjzHek_c4Zg"
#define RS512 \
    "eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.OI84ZXkCTdeTSYeiAT01QJLh4ISZ0qtAMY9Wc0cc4llFHsG3SZN4z7ChMtcoQ92OSfpN4W5I" \
    "8Keh439Nye284gP8ldAOImMQIWet4nMtgfwGSpU3kTp9UUBffpsbmJClGWwWe09pMkhFkF6JZi1CmYs_" \
    "wlS7qFpyYhqPuBOTH2Un7fbCdyUh75YPOvXDMTk3gw_fnFX_eGVhZmtWTqA0bu_xJWwFl-GM7Bc5REFK" \
    "7X08-BwYA8g9hj9Cpa4bYUsH_Kkv6fKv3VVK7SqQNBRjuj6eBKZXvPx-4Q_djJ_SIE6e4tau2DG4pFls" \
    "bC4va9ctTdZtz-hvXIfOjQ3Rj2x-lA"
#define PS512 \
    "eyJhbGciOiJQUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.TF8ytUzXdfyTE4b4FMfSE62G8Q8vA7TnkDcoW8W72KKc0vm6csjaQDV3bmRmqI4xD1EIBhG7" \
    "vGC3s8tDKL2i_8qMMRF_NXYWDWX6ry_Q--uBr3rZ6QSIWmgguv60ESyiDd7yjJb2qhD7BPIkHj6RQ-zs" \
    "uZnPbsKW2sKN_MXNDZROl2atUqd8bSygFsZdIA0SyWY56WMQUjSvl8D2gynO8f8iqlmu9CzAcuqiZYLe" \
    "_RBvcdWtAUSc5DB31_O8Nrd6Y9vn5o8X0zJJsg4-zIV0EBlC-1i5j9c6l0u8eCyv9gIBkdaS28sx6Cmj" \
    "ejyJh05igIQwDhFjfG-_tqnknMwWDg"
#define ES256 \
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.AA6ONE4D8sClwrJzpOKFXtqxvYWXJBmI6K0pHi9wvQsI7gFgFJK2ReLztHLSDUo66uJV1BaC" \
    "4sOqtC7WIdt0Zw"
#define ES384 \
    "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.o6dibHqTYgE7Ojua7F4FLXS1WjQCLN-MSYLJczFfkxa03MMbFFULOBMZbilHIU3kwRk6VV2B" \
    "BY_rQ2bAcWSVKPT7mhzL2JfqhXTZrhMOu54KFw98WeLj5CbbKVcKcHlJ"
#define ES512 \
    "eyJhbGciOiJFUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.AFFSlLcw4sosE2NlYUIFBO1pY-ZXym0hfFR3sgkcNNrjFM1lGP-I9pmZuWvoWODEa56I9Q8t" \
    "tOjI4hKI2sHozYnUAeby6VcRWKLuKpf2zgFUyw0NyitNKao3pvF298Bc7L0T_FcxPcjA2BZ2rf-zIdSU" \
    "pSg5NZJZCPMUkbzdsbzq6z8F"
#define ES256_SHORT_R \
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.AFQVPTR9FNce7g912S1ZusOcrQucSWyq5PjK974PYUG4JXW7QkT1vIuWdKKLcyEgIlCkeI-e" \
    "bVd5BG9GKGhyfA"
#define ES256_DER \
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.MEUCIQDmuzVnkmrCQKqUpV338hB0eChIT7o-UVUThw3_wmvTVAIgCol2U43a8ry95i_GjfBl" \
    "Ri-mZUhdimp7fy8AEAaEy5k"
#define ES256_BY_P384 \
    "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.-TRXUaemk0zCIckjVED_WGC6KsgaKMYjC1W1JfKqWkaYvafB2y6AY-c2M6aBDO5Y5afnVphX" \
    "KYRzPhOCY7E8KR-8wF3gE2njQbp0lxrX3qki1H-qGyP-9B8VqkSaIKSh"
#define RS256_BY_OTHER \
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.Wnzp3JEOIwDAsnDIPS4gV9MBZGvWzhC73hv0Z-3fp0KIOxjxH7dRVKpVCbufiTh6MH9QCoXn" \
    "LyxDiM0KwPsTKRornUCJ89-z1qa6NHJLl133av_L47YOdQnK9-dGJ5YhrYRSDfGsKlFT9s789lyFqhNR" \
    "N-Nfs3wE5VqMx8RDPk_0mFFzCy8o8wnRRppU1uvV-4QMjwqw_qQTSFvXNEFfwJ3eVA8PQ_KwFg3IreKf" \
    "MSZTX9iDFn2WbVfUJtznDUfyJCJLTGAoo05w1-vRzh4rzFpYZGF2UAZvl-4lo3hWO-8ItKHnaSF-E3Fj" \
    "pqqxD52kFj5jwN22OD9a4VrH3Gs_QA"
#define RS256_SAYS_PS \
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.ZwshgrAD4gMTQ6aFhRgpFtBoKLGno-L1Sjss7RCd1KqtsEx-1K4QETYArIKeake7lWNkGM0E" \
    "10AvMzOe4I2mTL8zSLOKfxHB518Uuh0-5WtP9Ahl9HmSnjhLD0uvXx3AgK9HNOmg_oaNTk0RmzjEgmZG" \
    "o-VeEUsY6V5IdycjzEoZRTYclvBN5GbVaFRXOQemSBnEBRTNM7PHnz8nIZ-AthEWAdQpDZmh27Oapv4K" \
    "McPiGKhwWNNf8vnlrZECHAzAPjYaelCXhkrMdnNhPo6gD7qUcKjl0pQhggY9HkHyEHE_FLgq0zPZqXVP" \
    "h7jQWNwQgmlRVpNgsTDGJw2Kv8rNyQ"
#define PS256_ODD_SALT \
    "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.CuEfDkwbvVrc81OSyYdxQya7JNHQ4F55DUZOggwX7B8jyf_dhW9H4SARPEdvNIwzD1Pp-4Ut" \
    "Bgrbghq5p9F0zIIhkShNVBJ8LjAhCG-fVU7RaFPEoT6ju3CLTCUer6h8m72cf54RYkolbvJQgRZXT7mh" \
    "YxC5d9WvvHyzUXz3mJrShTW7Gd9XsxTEGlBZgYw-ZEbID_zPs_sLKbrf6y1CyFMVaK6ft0NHtWwG4XpB" \
    "LBoCKJCto82TFy0VnT67LXj0sWdbfMdeApIIfvmK9YXVVi5cc2xNiLHxo-X1xu6Sb6nFxkYYQqu0DzNO" \
    "jIMQMfXLDvooYpOBhDGnntEtN5sGbw"
#define EDDSA_25519 \
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.9lBSGf7jlNUfy2dBTazQJC4LypP5x7rZ087U9Yw5x4XtbXDWUBgNoKAjeZse4wCubysYvOg0" \
    "g5IKCy9a0zG8AA"
#define EDDSA_448 \
    "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImlhdCI6MTY5OTk5OTAwMCw" \
    "ibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsImlzcyI6Imlzc3VlciIsImF1ZCI6WyJhIiw" \
    "iYiJdfQ.prsgjbOVGs4WuemoKbLaTem-5AFmcIeQR0CbWDNj8hiU118y_0b9v7S2VdjOJI2GIBwamP8R" \
    "RHQAnNaN1ToX_H5gKIefcIDVJdzDzgH19ZAdDj9FwuqR9SLgPKlWZwh8KG20rDIAYNjF-D97RVOUth4A"
