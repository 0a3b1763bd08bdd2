@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <64 x float> @llvm.masked.gather.v64f32.v64p0(<64 x ptr>, <64 x i1>, <64 x float>)
declare <16 x float> @llvm.masked.gather.v16f32.v16p0(<16 x ptr>, <16 x i1>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.8 = alloca i64
  %.9 = alloca i64
  %.27 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.y.ptr = getelementptr i64, ptr %record, i64 2
  %y.ptr = load ptr, ptr %at.y.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 3
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 4
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 5
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 6
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.y.s0 = getelementptr i64, ptr %record, i64 7
  %y.s0 = load i64, ptr %at.y.s0, align 8
  %at.y.s1 = getelementptr i64, ptr %record, i64 8
  %y.s1 = load i64, ptr %at.y.s1, align 8
  %at.units = getelementptr i64, ptr %record, i64 10
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 11
  %grain = load i64, ptr %at.grain, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 12
  %chunk = load i64, ptr %at.chunk, align 8
  %at.chunks = getelementptr i64, ptr %record, i64 13
  %chunks = load i64, ptr %at.chunks, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = mul i64 %y.s0, 4
  %.4 = mul i64 %y.s1, 4
  %.5 = mul i64 %number, %grain
  %.6 = add i64 %.5, %grain
  %.7 = call i64 @llvm.smin.i64(i64 %.6, i64 %units)
  %.10 = urem i64 %.5, %chunks
  store i64 %.10, ptr %.8
  %.11 = udiv i64 %.5, %chunks
  store i64 %.11, ptr %.9
  %.13 = icmp slt i64 %.5, %.7
  br i1 %.13, label %loop.12, label %done.12
loop.12:
  %.14 = phi i64 [ %.5, %entry ], [ %.79, %done.49 ]
  %.15 = load i64, ptr %.8
  %.16 = load i64, ptr %.9
  %.17 = mul i64 %.16, %.1
  %.18 = getelementptr i8, ptr %out.ptr, i64 %.17
  %.19 = mul i64 %.16, %.2
  %.20 = getelementptr i8, ptr %x.ptr, i64 %.19
  %.21 = mul i64 %.16, %.3
  %.22 = getelementptr i8, ptr %y.ptr, i64 %.21
  %.23 = mul i64 %.15, %chunk
  %.24 = add i64 %.23, %chunk
  %.25 = call i64 @llvm.smin.i64(i64 %.24, i64 %n1)
  %.26 = load float, ptr %.20, align 4
  store i64 %.23, ptr %.27
  %.29 = sub i64 %.25, 64
  %.30 = add i64 %.29, 1
  %.31 = icmp slt i64 %.23, %.30
  br i1 %.31, label %loop.28, label %done.28
loop.28:
  %.32 = phi i64 [ %.23, %loop.12 ], [ %.46, %loop.28 ]
  %.33 = insertelement <64 x float> poison, float %.26, i64 0
  %.34 = shufflevector <64 x float> %.33, <64 x float> poison, <64 x i32> zeroinitializer
  %.35 = mul i64 %.32, %.4
  %.36 = getelementptr i8, ptr %.22, i64 %.35
  %.37 = insertelement <64 x i64> poison, i64 %.4, i64 0
  %.38 = shufflevector <64 x i64> %.37, <64 x i64> poison, <64 x i32> zeroinitializer
  %.39 = mul <64 x i64> %.38, <i64 0, i64 1, i64 2, i64 3, i64 4, i64 5, i64 6, i64 7, i64 8, i64 9, i64 10, i64 11, i64 12, i64 13, i64 14, i64 15, i64 16, i64 17, i64 18, i64 19, i64 20, i64 21, i64 22, i64 23, i64 24, i64 25, i64 26, i64 27, i64 28, i64 29, i64 30, i64 31, i64 32, i64 33, i64 34, i64 35, i64 36, i64 37, i64 38, i64 39, i64 40, i64 41, i64 42, i64 43, i64 44, i64 45, i64 46, i64 47, i64 48, i64 49, i64 50, i64 51, i64 52, i64 53, i64 54, i64 55, i64 56, i64 57, i64 58, i64 59, i64 60, i64 61, i64 62, i64 63>
  %.40 = getelementptr i8, ptr %.36, <64 x i64> %.39
  %.41 = call <64 x float> @llvm.masked.gather.v64f32.v64p0(<64 x ptr> align 4 %.40, <64 x i1> splat (i1 true), <64 x float> zeroinitializer)
  %.42 = fadd <64 x float> %.34, %.41
  %.43 = mul i64 %.32, 4
  %.44 = getelementptr i8, ptr %.18, i64 %.43
  store <64 x float> %.42, ptr %.44, align 4
  %.45 = add i64 %.32, 64
  store i64 %.45, ptr %.27
  %.46 = add i64 %.32, 64
  %.47 = icmp slt i64 %.46, %.30
  br i1 %.47, label %loop.28, label %done.28
done.28:
  %.48 = load i64, ptr %.27
  %.50 = icmp slt i64 %.48, %.25
  br i1 %.50, label %loop.49, label %done.49
loop.49:
  %.51 = phi i64 [ %.48, %done.28 ], [ %.70, %loop.49 ]
  %.52 = sub i64 %.25, %.51
  %.53 = call i64 @llvm.smin.i64(i64 %.52, i64 16)
  %.54 = sub i64 16, %.53
  %.55 = trunc i64 %.54 to i16
  %.56 = lshr i16 -1, %.55
  %.57 = bitcast i16 %.56 to <16 x i1>
  %.58 = insertelement <16 x float> poison, float %.26, i64 0
  %.59 = shufflevector <16 x float> %.58, <16 x float> poison, <16 x i32> zeroinitializer
  %.60 = mul i64 %.51, %.4
  %.61 = getelementptr i8, ptr %.22, i64 %.60
  %.62 = insertelement <16 x i64> poison, i64 %.4, i64 0
  %.63 = shufflevector <16 x i64> %.62, <16 x i64> poison, <16 x i32> zeroinitializer
  %.64 = mul <16 x i64> %.63, <i64 0, i64 1, i64 2, i64 3, i64 4, i64 5, i64 6, i64 7, i64 8, i64 9, i64 10, i64 11, i64 12, i64 13, i64 14, i64 15>
  %.65 = getelementptr i8, ptr %.61, <16 x i64> %.64
  %.66 = call <16 x float> @llvm.masked.gather.v16f32.v16p0(<16 x ptr> align 4 %.65, <16 x i1> %.57, <16 x float> zeroinitializer)
  %.67 = fadd <16 x float> %.59, %.66
  %.68 = mul i64 %.51, 4
  %.69 = getelementptr i8, ptr %.18, i64 %.68
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.67, ptr align 4 %.69, <16 x i1> %.57)
  %.70 = add i64 %.51, 16
  %.71 = icmp slt i64 %.70, %.25
  br i1 %.71, label %loop.49, label %done.49
done.49:
  %.72 = load i64, ptr %.8
  %.73 = add i64 %.72, 1
  %.74 = icmp eq i64 %.73, %chunks
  %.75 = zext i1 %.74 to i64
  %.76 = select i1 %.74, i64 0, i64 %.73
  store i64 %.76, ptr %.8
  %.77 = load i64, ptr %.9
  %.78 = add i64 %.77, %.75
  store i64 %.78, ptr %.9
  %.79 = add i64 %.14, 1
  %.80 = icmp slt i64 %.79, %.7
  br i1 %.80, label %loop.12, label %done.12
done.12:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, ptr %y.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0, i64 %y.s0, i64 %y.s1) #0 {
entry:
  %record = alloca [21 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store ptr %y.ptr, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n0, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %n1, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %out.s0, ptr %.6, align 8
  %.7 = getelementptr i64, ptr %record, i64 6
  store i64 %x.s0, ptr %.7, align 8
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %y.s0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %y.s1, ptr %.9, align 8
  %.10 = mul i64 %n0, %n1
  %.11 = icmp eq i64 %.10, 0
  br i1 %.11, label %leave, label %work
work:
  %.12 = getelementptr i64, ptr %record, i64 10
  store i64 %n0, ptr %.12, align 8
  %.13 = getelementptr i64, ptr %record, i64 11
  store i64 %n0, ptr %.13, align 8
  %.14 = getelementptr i64, ptr %record, i64 12
  store i64 %n1, ptr %.14, align 8
  %.15 = getelementptr i64, ptr %record, i64 13
  store i64 1, ptr %.15, align 8
  %.16 = icmp sgt i64 %.10, 142857
  br i1 %.16, label %then.17, label %done.17
then.17:
  %.18 = sub i64 57088, 1
  %.19 = add i64 %n1, %.18
  %.20 = udiv i64 %.19, 57088
  %.21 = mul i64 %n0, %.20
  %.22 = call i64 @llvm.smin.i64(i64 57088, i64 %n1)
  %.23 = getelementptr i64, ptr %record, i64 13
  store i64 %.20, ptr %.23, align 8
  %.24 = getelementptr i64, ptr %record, i64 12
  store i64 %.22, ptr %.24, align 8
  %.25 = call i64 @llvm.smax.i64(i64 %.22, i64 1)
  %.26 = udiv i64 57088, %.25
  %.27 = call i64 @llvm.smax.i64(i64 %.26, i64 1)
  %.28 = getelementptr i64, ptr %record, i64 10
  store i64 %.21, ptr %.28, align 8
  %.29 = getelementptr i64, ptr %record, i64 11
  store i64 %.27, ptr %.29, align 8
  %.30 = sub i64 %.27, 1
  %.31 = add i64 %.21, %.30
  %.32 = udiv i64 %.31, %.27
  call void @facula_parallel(ptr @task, ptr %record, i64 %.32)
  br label %leave
never.33:
  br label %done.17
done.17:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
